//! Rules that people wrote, as their documents: over the ones that are built in, by their names.

use meshward_fleet::alert::{Rule, default_rules};

use super::RowError;
use crate::rest::{convert, model};

/// The body of a rule's document.
pub(crate) fn written(rule: &model::AlertRule) -> Result<String, RowError> {
    Ok(serde_json::to_string(rule)?)
}

/// The rule of that name.
pub(super) fn read(name: &str, body: &str) -> Result<Rule, RowError> {
    let mut given: model::AlertRule = serde_json::from_str(body)?;
    given.name = name.to_owned();
    convert::written_rule(&given).map_err(|wrong| RowError::Unknown(wrong.to_string()))
}

/// All rules in force: a rule takes the place of the one of its name, or comes behind all.
pub(crate) fn with(mut rules: Vec<Rule>, new: Rule) -> Vec<Rule> {
    match rules.iter_mut().find(|rule| rule.name == new.name) {
        Some(rule) => *rule = new,
        None => rules.push(new),
    }
    rules
}

/// All rules in force without what people wrote under this name: the built-in rule of that name, if there is one.
pub(crate) fn without(mut rules: Vec<Rule>, name: &str) -> Vec<Rule> {
    match built_in(name) {
        Some(rule) => with(rules, rule),
        None => {
            rules.retain(|rule| rule.name != name);
            rules
        }
    }
}

/// The built-in rule of that name.
pub(crate) fn built_in(name: &str) -> Option<Rule> {
    default_rules().into_iter().find(|rule| rule.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_goes_over_what_is_built_in() {
        let all = default_rules();
        let name = all[0].name.clone();
        let changed = Rule { enabled: false, ..all[0].clone() };
        let mine = Rule { name: "mine".to_owned(), ..all[0].clone() };
        let rules = with(with(all.clone(), changed.clone()), mine.clone());
        assert_eq!((rules.len(), &rules[0], rules.last()), (all.len() + 1, &changed, Some(&mine)));
        assert_eq!(without(without(rules, &name), "mine"), all);
        let body = written(&convert::rule(&changed)).unwrap();
        assert_eq!(read(&name, &body).unwrap(), changed);
        for bad in ["", "{}", r#"{"severity": "info", "state": "sad"}"#] {
            assert!(read("mine", bad).is_err(), "{bad}");
        }
    }
}
