//! Invented finished builds, as the exec files a builder would send.
