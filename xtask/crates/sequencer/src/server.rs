//! Does the server serve? A pure judgement of the rungs that were climbed.
