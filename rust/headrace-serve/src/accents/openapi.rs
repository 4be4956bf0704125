//! The routes and what the served models take and give, as an `OpenAPI` 3.1 document.

use serde_json::{Map, Value, json};

use crate::catalogue::Endpoint;
use crate::engine::Port;
use crate::model::{Column, Model};
use crate::routes::{self, Permission};
use crate::tensor::Kind;

/// What is no longer rounded to the greatest float of 32 bits: half a step beyond it.
const BEYOND: f64 = 3.402_823_567_797_336_6e38;
/// What the security scheme is called.
const SCHEME: &str = "token";

/// The document for what is served now; `guarded`: to those who have tokens; with the most labels that a request may have,
/// where labels are kept.
pub fn document(endpoints: &[(&Endpoint, &Model)], version: &str, guarded: bool, labels: Option<usize>) -> Vec<u8> {
    let mut paths = Map::new();
    for (path, summary, answer) in [
        ("/", "Is the process there?", text_object(&["status"])),
        ("/v2", "What the server is", text_object(&["name", "version"])),
        ("/v2/health/live", "Is the process there?", flags(&["live"])),
        ("/v2/health/ready", "Does it take requests?", flags(&["ready"])),
        ("/v1/models", "Names of the models", json!({ "type": "object", "required": ["models"] })),
    ] {
        paths.insert(path.to_owned(), json!({ "get": operation(summary, None, &answer, "Inference") }));
    }
    for path in ["/ping", "/health"] {
        let well = json!({ "responses": { "200": { "description": "well" }, "503": { "description": "not ready" } } });
        paths.insert(path.to_owned(), json!({ "get": well, "head": well }));
    }
    for (path, kind) in [("/version", "text/plain"), ("/metrics", "text/plain")] {
        let body = json!({ kind: { "schema": { "type": "string" } } });
        let answers = json!({ "200": { "description": "text", "content": body } });
        paths.insert(path.to_owned(), json!({ "get": { "responses": answers } }));
    }
    if let Some((_, model)) = endpoints.first() {
        let body = json!({ "oneOf": [
            rows(model, &["inputs", "dataframe_split", "dataframe_records"]),
            records(model, &["inputs", "dataframe_split", "instances"]),
        ] });
        let operation =
            operation("Predictions, as MLflow and SageMaker ask", Some(&body), &predictions(model), "Mlflow");
        paths.insert("/invocations".to_owned(), json!({ "post": operation }));
    }
    for (endpoint, model) in endpoints {
        let name = encoded(&endpoint.name);
        let about = json!({ "type": "object", "required": ["name", "versions", "platform", "inputs", "outputs"] });
        let get = |summary: &str, answer: &Value| json!({ "get": operation(summary, None, answer, "Inference") });
        paths.insert(format!("/v2/models/{name}"), get("What the model takes and gives", &about));
        paths.insert(format!("/v2/models/{name}/ready"), get("Does the model take requests?", &flags(&["ready"])));
        paths.insert(format!("/v1/models/{name}"), get("Is the model ready?", &flags(&["ready"])));
        let body = rows(model, &["inputs"]);
        let post = operation("Predictions, protocol v1", Some(&body), &predictions(model), "Inference");
        paths.insert(format!("/v1/models/{name}:predict"), json!({ "post": post }));
        let post = operation("Predictions, protocol v2", Some(&infer(model)), &inferred(model), "Inference");
        paths.insert(format!("/v2/models/{name}/infer"), json!({ "post": post }));
    }
    if let Some(most) = labels {
        paths.insert("/feedback".to_owned(), json!({ "post": feedback(most) }));
    }
    let text = json!({ "type": "string" });
    if guarded {
        guard(&mut paths);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "headrace", "version": version },
        "paths": paths,
        "components": { "schemas": {
            "Inference": { "type": "object", "required": ["error"], "properties": { "error": text } },
            "Mlflow": {
                "type": "object",
                "required": ["error_code", "message"],
                "properties": { "error_code": text, "message": text },
            },
        } },
    });
    if guarded {
        let scheme = json!({ "type": "http", "scheme": "bearer", "description": "of `headrace tokens create`" });
        document["components"]["securitySchemes"] = json!({ SCHEME: scheme });
    }
    document.to_string().into_bytes()
}

/// Says of each operation what a token must allow, as the table of routes has it.
fn guard(paths: &mut Map<String, Value>) {
    for (path, item) in paths {
        let Some(operations) = item.as_object_mut() else { continue };
        for (method, operation) in operations {
            let permission = routes::find(&method.to_ascii_uppercase(), path).map(|found| found.entry.permission);
            let Ok(permission) = permission else { continue };
            if permission == Permission::Open {
                continue;
            }
            let scope = permission.name();
            operation["security"] = json!([{ SCHEME: [scope] }]);
            operation["responses"]["401"] = json!({ "description": "no token, or one that does not count" });
            operation["responses"]["403"] = json!({ "description": format!("a token without the scope {scope}") });
        }
    }
}

/// Labels, as JSON or as a table. Whether a time can be read stands in no schema.
fn feedback(most: usize) -> Value {
    let label = json!({
        "type": "object",
        "required": ["id", "label"],
        "properties": {
            "id": { "type": ["string", "integer"], "minLength": 1, "pattern": "^[^\\u0000]*$" },
            "label": { "type": ["string", "number", "boolean", "null"], "pattern": "^[^\\u0000]*$" },
            "row": { "type": ["integer", "null"], "minimum": 0, "maximum": i32::MAX },
            // In ISO 8601; one that cannot be read is refused where there is a label.
            "time": { "type": ["string", "number", "null"] },
        },
        "additionalProperties": false,
    });
    let body = json!({ "oneOf": [label, { "type": "array", "items": label, "maxItems": most }] });
    let kept = json!({
        "type": "object",
        "required": ["labels", "empty", "unknown", "unknown_ids"],
        "properties": {
            "labels": { "type": ["integer", "null"] },
            "empty": { "type": "integer" },
            "unknown": { "type": "integer" },
            "unknown_ids": { "type": "array", "items": { "type": "string" } },
        },
    });
    let mut operation = operation("Labels for what was predicted", Some(&body), &kept, "Inference");
    operation["requestBody"]["content"]["text/csv"] = json!({ "schema": { "type": "string" } });
    operation
}

fn operation(summary: &str, body: Option<&Value>, answer: &Value, refusal: &str) -> Value {
    let media = |schema: &Value| json!({ "application/json": { "schema": schema } });
    let refused = media(&json!({ "$ref": format!("#/components/schemas/{refusal}") }));
    let mut operation = json!({
        "summary": summary,
        "responses": {
            "200": { "description": "an answer", "content": media(answer) },
            "default": { "description": "a refusal, which says what is wrong", "content": refused },
        },
    });
    if let (Some(body), Some(fields)) = (body, operation.as_object_mut()) {
        fields.insert("requestBody".to_owned(), json!({ "required": true, "content": media(body) }));
    }
    operation
}

fn text_object(names: &[&str]) -> Value {
    let fields: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
    json!({ "type": "object", "required": names, "properties": fields })
}

fn flags(names: &[&str]) -> Value {
    let fields: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({ "type": "boolean" }))).collect();
    json!({ "type": "object", "required": names, "properties": fields })
}

/// A value of a graph's input.
fn value(kind: Kind) -> Value {
    match kind {
        // Numbers that round to a finite float; null is NaN.
        Kind::F32 => json!({ "type": ["number", "null"], "exclusiveMinimum": -BEYOND, "exclusiveMaximum": BEYOND }),
        Kind::F64 => json!({ "type": ["number", "null"] }),
        Kind::I32 => json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
        Kind::I64 => json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
        Kind::Bool => json!({ "type": "boolean" }),
        // ONNX Runtime takes no NUL.
        Kind::Text => json!({ "type": "string", "pattern": "^[^\\u0000]*$" }),
    }
}

/// A row of a graph's input.
fn row(port: &Port) -> Value {
    port.shape.iter().skip(1).rev().fold(value(port.kind), |inner, length| match length {
        Some(length) => json!({ "type": "array", "items": inner, "minItems": length, "maxItems": length }),
        None => json!({ "type": "array", "items": inner, "minItems": 1 }),
    })
}

/// A cell of a raw column; what the feature plan takes beyond it, it says itself.
fn cell(column: &Column) -> Value {
    match column.datatype.as_str() {
        "BOOL" => json!({ "type": ["boolean", "null"] }),
        "INT64" => json!({ "type": ["integer", "null"] }),
        "FP64" => json!({ "type": ["number", "null"] }),
        _ => json!({ "type": ["string", "null"] }),
    }
}

/// A row as an object.
fn object(model: &Model) -> Value {
    let names: Vec<&str> = model.inputs.iter().map(|column| column.name.as_str()).collect();
    let schema = |(position, column): (usize, &Column)| match model.ports().get(position) {
        Some(port) => (column.name.clone(), row(port)),
        None => (column.name.clone(), cell(column)),
    };
    let fields: Map<String, Value> = model.inputs.iter().enumerate().map(schema).collect();
    json!({ "type": "object", "required": names, "properties": fields })
}

/// Rows, in the only one of the forms; other keys are ignored.
fn form(model: &Model, name: &str, row: &Value, others: &[&str]) -> Value {
    let rows = json!({ "type": "array", "items": row, "minItems": 1, "maxItems": model.request_rows });
    let mut fields: Map<String, Value> = others.iter().map(|other| ((*other).to_owned(), json!(false))).collect();
    fields.insert(name.to_owned(), rows);
    json!({ "type": "object", "required": [name], "properties": fields })
}

fn rows(model: &Model, others: &[&str]) -> Value {
    let row = match model.ports() {
        [port] => row(port),
        _ => object(model),
    };
    form(model, "instances", &row, others)
}

fn records(model: &Model, others: &[&str]) -> Value {
    form(model, "dataframe_records", &object(model), others)
}

fn predictions(model: &Model) -> Value {
    let one = if model.outputs.len() == 1 { json!({}) } else { json!({ "type": "object" }) };
    let rows = json!({ "type": "array", "items": one, "minItems": 1 });
    json!({ "type": "object", "required": ["predictions"], "properties": { "predictions": rows } })
}

/// A request of protocol v2; that the shape is that of the data stands in no schema.
fn infer(model: &Model) -> Value {
    let names = |columns: &[Column]| -> Vec<Value> { columns.iter().map(|column| json!(column.name)).collect() };
    let input = json!({
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": { "enum": names(&model.inputs) },
            "shape": { "type": "array", "items": { "type": "integer", "minimum": 0 } },
            "datatype": { "type": "string" },
            "data": { "type": "array" },
        },
    });
    let output = json!({
        "type": "object",
        "required": ["name"],
        "properties": { "name": { "enum": names(&model.outputs) } },
    });
    let (inputs, outputs) = (model.inputs.len(), model.outputs.len());
    json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": { "type": ["string", "null"] },
            "inputs": { "type": "array", "items": input, "minItems": inputs, "maxItems": inputs },
            "outputs": { "type": ["array", "null"], "items": output, "maxItems": outputs },
        },
    })
}

fn inferred(model: &Model) -> Value {
    let names: Vec<&str> = model.outputs.iter().map(|column| column.name.as_str()).collect();
    let output = json!({
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": { "name": { "enum": names }, "data": { "type": "array" } },
    });
    json!({
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": { "outputs": { "type": "array", "items": output, "minItems": 1 } },
    })
}

/// A name as it stands in a path.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit =
                |value: u8| char::from_digit(u32::from(value), 16).map_or('0', |digit| digit.to_ascii_uppercase());
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}
