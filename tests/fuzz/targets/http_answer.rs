//! The framing of an HTTP answer: length, chunks, end of the connection.
#![no_main]

use fuzz::cuts;
use libfuzzer_sys::fuzz_target;
use load::fuzz::http;

fuzz_target!(|bytes: &[u8]| {
    let [whole, single, some] = cuts(bytes);
    let read = http(&whole);
    assert!(read.body.len() <= bytes.len());
    assert_eq!(http(&single), read, "byte by byte");
    assert_eq!(http(&some), read, "in pieces");
    // Whatever the bytes are, as the body of a chunked answer they come out as they went in.
    let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in &some {
        answer.extend_from_slice(format!("{:x};x=\"y\"\r\n", piece.len()).as_bytes());
        answer.extend_from_slice(piece);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\ntrailer: z\r\n\r\n");
    for pieces in cuts(&answer) {
        let read = http(&pieces);
        assert_eq!((read.body.as_slice(), read.ending.as_deref()), (bytes, Ok("Complete")));
    }
});
