//! artifactapi
