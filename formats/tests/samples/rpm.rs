//! rpm packages and their metadata.
