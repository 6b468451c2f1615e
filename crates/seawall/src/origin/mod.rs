//! What the guard itself can serve.
