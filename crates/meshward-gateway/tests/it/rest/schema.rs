//! As much of JSON Schema as the description uses.

use serde_json::Value;

/// A document and its parts.
pub(super) struct Schemas<'a>(pub(super) &'a Value);

impl Schemas<'_> {
    /// Where a value is not what the schema says; nothing if it is.
    pub(super) fn wrong(&self, schema: &Value, value: &Value, at: &str) -> Option<String> {
        if let Some(name) = schema["$ref"].as_str() {
            let pointer = name.strip_prefix('#').unwrap();
            let target = self.0.pointer(pointer).unwrap_or_else(|| panic!("{name} is not described"));
            return self.wrong(target, value, at);
        }
        for all in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[all].as_array()
                && choices.iter().all(|choice| self.wrong(choice, value, at).is_some())
            {
                return Some(format!("{at}: {value} is none of {schema}"));
            }
        }
        let parts = schema["allOf"].as_array().into_iter().flatten();
        if let Some(wrong) = parts.filter_map(|part| self.wrong(part, value, at)).next() {
            return Some(wrong);
        }
        if !is_type(&schema["type"], value) {
            return Some(format!("{at}: {value} is no {}", schema["type"]));
        }
        if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
            return Some(format!("{at}: {value} is none of {}", schema["enum"]));
        }
        let number = value.as_f64().zip(schema["minimum"].as_f64());
        if number.is_some_and(|(value, least)| value < least) {
            return Some(format!("{at}: {value} is less than {}", schema["minimum"]));
        }
        self.parts(schema, value, at)
    }

    fn parts(&self, schema: &Value, value: &Value, at: &str) -> Option<String> {
        if let Some(items) = value.as_array() {
            let each = items.iter().enumerate();
            return each
                .filter_map(|(i, item)| self.wrong(&schema["items"], item, &format!("{at}/{i}")))
                .next();
        }
        let object = value.as_object()?;
        let mut required = schema["required"].as_array().into_iter().flatten();
        if let Some(missing) = required.find(|name| !object.contains_key(name.as_str().unwrap())) {
            return Some(format!("{at}: {missing} is missing"));
        }
        let properties = &schema["properties"];
        let other = &schema["additionalProperties"];
        object.iter().find_map(|(name, value)| {
            let at = format!("{at}/{name}");
            let described = properties.get(name).unwrap_or(other);
            if described.is_null() && properties.is_object() {
                return Some(format!("{at} is not described"));
            }
            self.wrong(described, value, &at)
        })
    }
}

fn is_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("type {other} is not known here"),
    };
    match wanted {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        _ => true,
    }
}

#[test]
fn a_wrong_value_is_found() {
    let document = serde_json::json!({"components": {"schemas": {"Node": {
        "type": "object", "required": ["id"],
        "properties": {"id": {"type": "integer", "minimum": 0}, "name": {"type": ["string", "null"]}},
    }}}});
    let schema = serde_json::json!({"type": "array", "items": {"$ref": "#/components/schemas/Node"}});
    for (value, right) in [
        (r#"[{"id":1,"name":null}]"#, true),
        (r#"[{"id":1},{"id":-1}]"#, false),
        (r#"[{"name":"a"}]"#, false),
        (r#"[{"id":1,"mood":1}]"#, false),
        (r#"{"id":1}"#, false),
    ] {
        let value = serde_json::from_str(value).unwrap();
        assert_eq!(Schemas(&document).wrong(&schema, &value, "").is_none(), right, "{value}");
    }
}
