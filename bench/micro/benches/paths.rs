//! Times each path.

fn main() {
    divan::main();
}

#[divan::bench(args = micro::names())]
fn path(bencher: divan::Bencher, name: &str) {
    let mut case = micro::case(name).expect("it is one of the names");
    bencher.bench_local(|| (case.work)());
}
