//! What the program does from outside: one binary, so that it is linked once. One module for each command.

mod report;
