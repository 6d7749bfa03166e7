//! What builder-web keeps: the database and the artifacts.
