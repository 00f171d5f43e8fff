//! What the two events promise: `asyncapi.yaml` and the JSON Schemas that it refers to, against which
//! captured messages are checked. Failures panic with their reason.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use async_nats::Message;
use processes::workspace;
use serde_json::{Map, Value, json};

/// The contract in this repository.
pub static EVENTS: LazyLock<EventContract> = LazyLock::new(EventContract::load);

/// Validators of headers and bodies, by subject.
#[derive(Debug)]
pub struct EventContract {
    by_subject: BTreeMap<String, [jsonschema::Validator; 2]>,
}

impl EventContract {
    fn load() -> Self {
        let document: Value = serde_yaml_ng::from_str(&read("asyncapi.yaml")).expect("asyncapi.yaml is YAML");
        let channels = document["channels"].as_object().expect("channels");
        let validators = |channel: &Value| {
            let subject = channel["address"].as_str().expect("an address").to_owned();
            let message = &document["components"]["messages"][&subject];
            let mut headers = message["headers"].clone();
            headers["components"] = document["components"].clone();
            let file = message["payload"]["$ref"].as_str().expect("a payload in a file");
            let body: Value = serde_json::from_str(&read(file)).expect("a schema is JSON");
            (subject, [headers, body].map(|schema| jsonschema::draft202012::new(&schema).expect("a schema")))
        };
        Self { by_subject: channels.values().map(validators).collect() }
    }

    /// The subjects that the contract has.
    pub fn subjects(&self) -> Vec<&str> {
        self.by_subject.keys().map(String::as_str).collect()
    }

    /// What is wrong with the body of an event; `None` when nothing is.
    pub fn refusal(&self, subject: &str, body: &Value) -> Option<String> {
        let [_, validator] = &self.by_subject[subject];
        validator.validate(body).err().map(|error| format!("{error} at {}", error.instance_path()))
    }

    /// Panics unless a message that a service published keeps the contract.
    pub fn check(&self, message: &Message) {
        let subject = message.subject.as_str();
        let body = serde_json::from_slice(&message.payload).expect("a JSON body");
        assert_eq!(self.refusal(subject, &body), None, "{subject} {body}");
        let mut headers = Map::new();
        for (name, values) in message.headers.as_ref().expect("headers").iter() {
            headers.insert(name.to_string(), json!(values.first().map(|value| value.as_str())));
        }
        let [validator, _] = &self.by_subject[subject];
        let refusal = validator.validate(&Value::Object(headers)).err().map(|error| error.to_string());
        assert_eq!(refusal, None, "the headers of {subject} {body}");
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(workspace::root().join("docs/api").join(file)).expect("read docs/api")
}
