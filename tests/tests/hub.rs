//! `.runpod/tests.json`: what RunPod's hub sends the image before it is listed. Here, all that needs no GPU.

use e2e::{Farcall, index_variables, repository};
use serde_json::{Value, json};

#[test]
fn the_hub_s_tests_succeed_on_this_worker() {
    let file = repository().join(".runpod/tests.json");
    let text = std::fs::read_to_string(file).unwrap();
    let hub: Value = serde_json::from_str(&text).unwrap();
    let farcall = Farcall::new().with_all(index_variables());
    let is_for_gpu = |test: &&Value| test["input"]["dependencies"] == json!(["torch"]);
    let tests: Vec<_> = hub["tests"].as_array().unwrap().iter().filter(|test| !is_for_gpu(test)).collect();
    for (number, test) in tests.iter().enumerate() {
        farcall.write(&format!("hub/{number}.json"), json!({"input": test["input"]}));
    }
    let finished = farcall.run(["test-handler", "--json", "hub"]);
    let answers = finished.answers();
    assert_eq!(answers.len(), tests.len());
    assert_eq!(answers[0].value(), 42);
    assert_eq!(answers[1].value(), "1.0 MB");
}
