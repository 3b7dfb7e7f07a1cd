//! Acceptance tests; see `acceptance/`.
