//! temporary
pub mod page {
    //! temporary
    /// temporary
    pub const HTML: &str = "<p>clock";
}
