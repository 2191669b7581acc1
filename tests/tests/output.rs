//! Output: everything a call prints, in order, bounded.

use e2e::{Farcall, function};
use serde_json::json;

fn output_of(code: &str) -> String {
    Farcall::new().answer(&function("f", code)).output().to_owned()
}

#[test]
fn print_logging_c_and_subprocesses_arrive_in_the_order_they_were_written() {
    let code = "\
import ctypes, logging, os, subprocess, sys, warnings
def f():
    libc = ctypes.CDLL(None)
    print('print')
    os.write(1, b'descriptor\\n')
    libc.printf(b'C\\n')
    sys.stderr.write('stderr\\n')
    subprocess.run(['echo', 'subprocess'])
    logging.warning('logging')
    os.system('echo system >&2')
    print('last, without a line end', end='')";
    assert_eq!(
        output_of(code),
        "print\ndescriptor\nC\nstderr\nsubprocess\nWARNING:root:logging\nsystem\nlast, without a line end"
    );
}

#[test]
fn a_burst_of_prints_keeps_its_place_among_other_writers() {
    let code = "\
import os, subprocess
def f():
    for round in range(3):
        for i in range(500): print(round, i)
        subprocess.run(['echo', 'subprocess'])";
    let expected: String = (0..3)
        .flat_map(|round| (0..500).map(move |i| format!("{round} {i}\n")).chain(["subprocess\n".to_owned()]))
        .collect();
    assert!(output_of(code) == expected);
}

#[test]
fn output_belongs_to_the_call_that_printed_it() {
    let request = |text: &str| function("f", "def f(text): print(text)").args(json!([text]));
    let answers = Farcall::new().answers(&[request("one"), request("two")]);
    assert_eq!((answers[0].output(), answers[1].output()), ("one\n", "two\n"));
}

#[test]
fn a_call_that_prints_nothing_has_empty_output() {
    assert_eq!(output_of("def f(): pass"), "");
}

#[test]
fn ten_megabytes_are_bounded_and_what_was_dropped_is_said() {
    let code = "def f():\n    print('begin')\n    print('x' * 10_000_000)\n    print('end')";
    let output = output_of(code);
    assert!(output.starts_with("begin\nxxx") && output.ends_with("xxx\nend\n"), "{} bytes", output.len());
    let dropped = 6 + 10_000_001 + 4 - (8 << 20);
    let note = format!("\n[farcall: {dropped} bytes of output left out]\n");
    assert!(output.contains(&note), "{note}");
    assert_eq!(output.len(), (8 << 20) + note.len());
}

#[test]
fn ten_megabytes_of_lines_from_subprocesses_do_not_block() {
    let code = "\
import subprocess
def f():
    subprocess.run(['sh', '-c', 'yes | head -c 5000000 >&2'])
    subprocess.run(['sh', '-c', 'yes no | head -c 6000000'])
    print('end')";
    let output = output_of(code);
    assert!(output.starts_with("y\ny\n") && output.ends_with("no\nno\nend\n") && output.len() > 8 << 20);
}

#[test]
fn a_smaller_limit_keeps_the_beginning_and_the_end() {
    let code = "def f():\n    for i in range(10_000): print(f'{i:07}')";
    let answer = Farcall::new().with("FARCALL_MAX_OUTPUT_KB", "1").answer(&function("f", code));
    let (head, tail) = answer.output().split_once("\n[farcall: ").unwrap();
    assert!(head.starts_with("0000000\n0000001\n") && tail.ends_with("\n0009998\n0009999\n"), "{answer:?}");
    assert!(tail.starts_with("78976 bytes of output left out]\n"), "{answer:?}");
}

#[test]
fn a_character_is_not_cut_in_half() {
    let code = "def f():\n    print(chr(0x1f422) * 1000, end='')";
    for shift in ["", "a", "ab", "abc"] {
        let code = code.replace("print(", &format!("print('{shift}' + "));
        let answer = Farcall::new().with("FARCALL_MAX_OUTPUT_KB", "1").answer(&function("f", &code));
        assert!(!answer.output().contains('\u{fffd}'), "{answer:?}");
        assert!(answer.output().ends_with('\u{1f422}'), "{answer:?}");
    }
}

#[test]
fn invalid_utf_8_is_replaced() {
    assert_eq!(output_of("import os\ndef f(): os.write(1, b'a\\xff\\xc3b\\n')"), "a\u{fffd}\u{fffd}b\n");
}

#[test]
fn lone_surrogates_are_escaped() {
    assert_eq!(output_of("def f(): print('a\\udc80b\\ud800')"), "a\\udc80b\\ud800\n");
}

#[test]
fn nul_and_terminal_escapes_are_kept() {
    assert_eq!(output_of("def f(): print('\\0\\x1b[31mred\\x1b[0m\\r')"), "\0\x1b[31mred\x1b[0m\r\n");
}

#[test]
fn a_call_that_closes_the_streams_leaves_the_next_one_able_to_print() {
    let closing = function(
        "f",
        "import sys\ndef f():\n    print('before')\n    sys.stdout.close()\n    sys.stderr = None",
    );
    let printing = function("g", "import sys\ndef g():\n    print('after')\n    sys.stderr.write('errors')");
    let answers = Farcall::new().answers([&closing, &printing]);
    assert_eq!(answers[0].output(), "before\n");
    assert_eq!(answers[1].output(), "after\nerrors", "{answers:?}");
}

#[test]
fn a_call_that_replaces_the_streams_leaves_the_next_one_able_to_print() {
    let replacing = function(
        "f",
        "import io, sys\ndef f():\n    sys.stdout = sys.stderr = io.StringIO()\n    print('lost')",
    );
    let printing = function("g", "import sys\ndef g():\n    print('after')\n    sys.stderr.write('errors')");
    let answers = Farcall::new().answers([&replacing, &printing]);
    assert_eq!((answers[0].output(), answers[1].output()), ("", "after\nerrors"), "{answers:?}");
}

#[test]
fn a_call_that_closes_the_descriptors_leaves_the_next_one_able_to_print() {
    let closing = function(
        "f",
        "import os\ndef f():\n    print('before')\n    os.close(1)\n    os.close(2)\n    print('lost')",
    );
    let printing = function(
        "g",
        "import os\ndef g():\n    print('after')\n    os.write(2, b'errors')\n    os.system('echo child')",
    );
    let answers = Farcall::new().answers([&closing, &printing]);
    assert_eq!(answers[0].output(), "before\n");
    assert_eq!(answers[1].output(), "after\nerrorschild\n", "{answers:?}");
}

#[test]
fn redirected_output_goes_where_the_code_says() {
    let code = "\
import contextlib, io
def f():
    with contextlib.redirect_stdout(io.StringIO()) as text:
        print('caught')
    print('printed')
    return text.getvalue()";
    let answer = Farcall::new().answer(&function("f", code));
    assert_eq!((answer.value(), answer.output()), (json!("caught\n"), "printed\n"));
}

#[test]
fn a_forked_child_prints_once_and_in_place() {
    let code = "\
import os, sys
def f():
    print('parent', end=' ')
    child = os.fork()
    if child == 0:
        print('child', end=' ')
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
    print('parent again')";
    assert_eq!(output_of(code), "parent child parent again\n");
}

#[test]
fn threads_that_print_lose_nothing() {
    let code = "\
import threading
def f():
    threads = [threading.Thread(target=lambda: [print('line') for _ in range(1000)]) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()";
    assert_eq!(output_of(code).matches("line").count(), 4000);
}

#[test]
fn output_right_before_the_process_dies_is_kept() {
    let code = "\
import ctypes, os
def f():
    for i in range(200): print(i, flush=True)
    ctypes.CDLL(None).printf(b'C\\n')
    os._exit(1)";
    let expected: String = (0..200).map(|i| format!("{i}\n")).chain(["C\n".to_owned()]).collect();
    assert_eq!(output_of(code), expected);
}

#[test]
fn a_thousand_calls_each_hold_their_own_line() {
    let requests: Vec<_> = (0..1000).map(|i| function("f", "def f(i): print(i)").args(json!([i]))).collect();
    let answers = Farcall::new().answers(&requests);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer.output(), format!("{index}\n"));
    }
}

#[test]
fn the_streams_look_like_a_pipes() {
    let code = "\
import sys
def f():
    sys.stdout.buffer.write(b'bytes\\n')
    sys.stdout.buffer.raw.write(memoryview(bytearray(b'view\\n')))
    sys.stdout.writelines(['a\\n', 'b\\n'])
    return [sys.stdout.isatty(), sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.encoding,
            sys.stdout.writable(), sys.stdout.readable(), sys.stdout.closed, sys.stdout.name]";
    let answer = Farcall::new().answer(&function("f", code));
    assert_eq!(answer.value(), json!([false, 1, 2, "utf-8", true, false, false, "<stdout>"]));
    assert_eq!(answer.output(), "bytes\nview\na\nb\n");
}

#[test]
fn the_streams_write_like_any_text_stream() {
    let code = "\
import io, sys
def f():
    out = sys.stdout
    counts = [out.write('é'), out.write('\\ud800'), out.write('€\\n'), out.write('')]
    out.writelines(['1', '2\\n', '3'])
    print('|', end='', flush=True)
    io.TextIOWrapper.write(out, '4\\n')
    out.buffer.write(b'5\\n')
    try:
        out.write(b'6')
    except TypeError as error:
        print(error, isinstance(out, io.TextIOWrapper))
    print('7', end='')
    out.reconfigure(encoding='latin-1')
    print('\\xe9', out.encoding)
    return counts";
    let answer = Farcall::new().answer(&function("f", code));
    assert_eq!(answer.value(), json!([1, 1, 2, 0]));
    let written = "é\\ud800€\n12\n3|4\n5\nwrite() argument must be str, not bytes True\n7\u{fffd} latin-1\n";
    assert_eq!(answer.output(), written);
}
