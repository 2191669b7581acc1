//! What happens to the bytes of a call: frames, requests, answers, base64, output.

use std::hint::black_box;

use base64_simd::STANDARD;
use farcall::runner::OutputBuffer;
use farcall_protocol::codec::{PRELUDE_BYTES, Prelude, decode_header, encode_head};
use farcall_protocol::frame::{Invoke, ToRunner};
use farcall_protocol::{FunctionRequest, FunctionResponse};

use crate::Case;

const LARGE: usize = 7_000_000;

/// A request of `add(1, 2)`, as flash sends it.
const SMALL: &str = r#"{"function_name":"add","function_code":"def add(a, b):\n    return a + b\n","args":["gAVLAS4=","gAVLAi4="],"kwargs":{}}"#;

/// What is read from a runner's pipe at once, and what is kept of a call's output.
const CHUNK: usize = 64 << 10;
const KEPT: usize = 8 << 20;

pub(crate) fn codec_head() -> Case {
    let invoke = Invoke {
        id: 7,
        fresh: false,
        max_result_bytes: 1 << 29,
        stream: false,
        settle: false,
        modules: None,
    };
    let message = ToRunner::Invoke(invoke);
    Case::new("codec_head", move || {
        let head = encode_head(black_box(&message), 512).expect("it is short");
        let (prelude, header) = head.split_first_chunk::<PRELUDE_BYTES>().expect("it has one");
        Prelude::decode(*prelude).expect("it was encoded");
        black_box(decode_header::<ToRunner>(header).expect("it was encoded"));
    })
}

pub(crate) fn request_small() -> Case {
    Case::new("request_small", || {
        black_box(FunctionRequest::parse(black_box(SMALL.as_bytes())).expect("it is one"));
    })
}

pub(crate) fn request_7mb() -> Case {
    let argument = encoded(LARGE);
    let request = SMALL.replace("gAVLAS4=", &argument);
    Case::new("request_7mb", move || {
        black_box(FunctionRequest::parse(black_box(request.as_bytes())).expect("it is one"));
    })
}

pub(crate) fn response_small() -> Case {
    let response = FunctionResponse { success: true, result: Some("gAVLAy4=".into()), ..Default::default() };
    Case::new("response_small", move || {
        black_box(black_box(&response).to_json());
    })
}

/// Its pieces, as they are sent: the result itself is not copied, but looked through.
pub(crate) fn response_7mb() -> Case {
    let mut kept = Some(encoded(LARGE));
    Case::new("response_7mb", move || {
        let response = FunctionResponse { success: true, result: kept.take(), ..Default::default() };
        let mut pieces = black_box(response).into_json_pieces();
        kept = String::from_utf8(pieces.swap_remove(1)).ok();
    })
}

pub(crate) fn base64_decode_7mb() -> Case {
    let text = encoded(LARGE);
    let mut decoded = vec![0; LARGE];
    Case::new("base64_decode_7mb", move || {
        let out = base64_simd::Out::from_slice(&mut decoded);
        black_box(STANDARD.decode(black_box(text.as_bytes()), out).expect("it is base64"));
    })
}

pub(crate) fn base64_encode_7mb() -> Case {
    let data = pattern(LARGE);
    let mut text = vec![0; STANDARD.encoded_length(LARGE)];
    Case::new("base64_encode_7mb", move || {
        let out = base64_simd::Out::from_slice(&mut text);
        black_box(STANDARD.encode(black_box(&data), out));
    })
}

/// 100,000 lines as they come out of the pipe.
pub(crate) fn output_100k_lines() -> Case {
    let text: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
    gather("output_100k_lines", text.into_bytes())
}

/// More than is kept: the middle is dropped.
pub(crate) fn output_over_limit() -> Case {
    gather("output_over_limit", b"a line of output that is dropped\n".repeat(2 * KEPT / 33))
}

fn gather(name: &'static str, text: Vec<u8>) -> Case {
    Case::new(name, move || {
        let mut buffer = OutputBuffer::new(KEPT);
        text.chunks(CHUNK).for_each(|chunk| buffer.push(black_box(chunk)));
        black_box(buffer.into_text());
    })
}

fn encoded(length: usize) -> String {
    STANDARD.encode_type(pattern(length))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(length).collect()
}
