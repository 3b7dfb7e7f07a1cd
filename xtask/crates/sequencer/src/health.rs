//! Is the device fit to measure on? A pure judgement of gathered facts.
