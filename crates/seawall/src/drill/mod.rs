//! Replays of real incidents against a guard on this machine.
