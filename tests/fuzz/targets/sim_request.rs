//! A request to the simulated server: its head, and its body at every path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sim::fuzz::{PATHS, body, head};

fuzz_target!(|bytes: &[u8]| {
    let sent = match head(bytes) {
        Ok(Some(head)) => {
            assert!(head.bytes <= bytes.len());
            assert_eq!(
                self::head(&bytes[..head.bytes]),
                Ok(Some(head.clone())),
                "what follows counts"
            );
            assert_eq!(
                self::head(&bytes[..head.bytes - 1]),
                Ok(None),
                "a head that is cut is none"
            );
            &bytes[head.bytes..]
        }
        Ok(None) | Err(_) => bytes,
    };
    for path in PATHS {
        match body(path, sent).expect("the path is known") {
            Ok((prompt, limit)) => {
                assert_ne!(prompt, 0, "{path}: a prompt without tokens");
                assert_ne!(limit, Some(0), "{path}: an answer without tokens");
            }
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
});
