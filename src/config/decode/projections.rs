//! `ograph.projections`: which projections are watched, and how they are read.

use std::{collections::BTreeMap, str::FromStr as _};

use jsonc_parser::ast;
use ograph_dispatcher_actors::model::key::{Projection, ProjectionKey};
use serde_json::json;

use crate::config::{
    Origin, Place,
    kinds::{self, Input, Raw, Read, kind_of, nullable},
    reader::{Node, Object, Reader},
};

const VARIABLE: &str = "OGRAPH_PROJECTIONS";
const FLAG: &str = "--projection";

/// The projections of whoever named any last: the flag, the variable or the file.
pub(super) fn projections(reader: &Reader<'_>, ograph: &mut Object<'_>) -> Vec<Projection> {
    let node = ograph.node("projections");
    let path = ograph.path("projections");
    let flags = reader.flag_values(FLAG);
    let (found, origin) = if !flags.is_empty() {
        let place = Place::Flag { flag: FLAG };
        (flags.iter().map(|text| named(reader, text, &place, &path)).collect(), Origin::Set(place))
    } else if let Some(list) = reader.variable_value(VARIABLE, &path) {
        let place = Place::Variable { variable: VARIABLE };
        let names = list.split(',').filter(|name| !name.trim().is_empty());
        (names.map(|text| named(reader, text, &place, &path)).collect(), Origin::Set(place))
    } else if let Some(node) = node {
        let Some(elements) = node.elements(reader) else { return Vec::new() };
        let found = elements.into_iter().map(|element| of_file(reader, element)).collect();
        (found, Origin::Set(reader.place(node.value)))
    } else {
        (Vec::new(), Origin::Default)
    };
    if found.is_empty() {
        let place = match &origin {
            Origin::Set(place) => place.clone(),
            Origin::Default => ograph.place(),
        };
        let message = format!("is empty, so nothing is watched; name projections in the file or as {VARIABLE}");
        reader.warning(place, &path, message);
    }
    let projections = without_duplicates(reader, found);
    let keys: Vec<_> = projections.iter().map(|projection| projection.key.as_str()).collect();
    reader.record(&path, json!(keys), origin);
    projections
}

/// A projection, and what a message about it has to name.
struct Found {
    projection: Projection,
    place: Place,
    path: String,
}

/// The valid ones; a key that comes twice is reported.
fn without_duplicates(reader: &Reader<'_>, found: Vec<Option<Found>>) -> Vec<Projection> {
    let mut keys: BTreeMap<ProjectionKey, Place> = BTreeMap::new();
    let mut projections = Vec::with_capacity(found.len());
    for Found { projection, place, path } in found.into_iter().flatten() {
        if let Some(first) = keys.get(&projection.key) {
            let first = match first {
                Place::At { line, .. } => format!(" on line {line}"),
                _ => String::new(),
            };
            let message = format!("\"{}\" is already watched{first}; \"as\" gives it a key of its own", projection.key);
            reader.error(place, &path, message);
        } else {
            keys.insert(projection.key.clone(), place);
            projections.push(projection);
        }
    }
    projections
}

fn named(reader: &Reader<'_>, text: &str, place: &Place, path: &str) -> Option<Found> {
    match Projection::from_str(text) {
        Ok(projection) => Some(Found { projection, place: place.clone(), path: path.to_owned() }),
        Err(error) => {
            reader.error(place.clone(), path, error.to_string());
            None
        }
    }
}

fn of_file(reader: &Reader<'_>, node: Node<'_>) -> Option<Found> {
    let place = reader.place(node.value);
    let path = node.path.clone();
    let projection = match node.value {
        ast::Value::Object(_) => described(reader, node.object(reader)),
        _ => node.read(reader, name_and_query),
    };
    projection.map(|projection| Found { projection, place, path })
}

fn name_and_query(input: &Input<'_>) -> Read<Projection> {
    match input.raw {
        Raw::Json(ast::Value::StringLit(_)) | Raw::Variable(_) | Raw::Flag(_) => {}
        Raw::Json(other) => return Err(format!("must be a string or an object, not {}", kind_of(other))),
    }
    Projection::from_str(&kinds::line(input)?).map_err(|error| error.to_string())
}

/// `{name, params, as, valuePointer, ignore}`.
fn described(reader: &Reader<'_>, mut object: Object<'_>) -> Option<Projection> {
    let name = object.node("name");
    if name.is_none() {
        object.missing("name", "");
    }
    let params = object.node("params").map(|node| params(reader, node));
    let alias = object.node("as").and_then(|node| node.read(reader, nullable(kinds::line))).flatten();
    let value_pointer = object.node("valuePointer").and_then(|node| node.read(reader, nullable(kinds::pointer)));
    let ignore = object.node("ignore").map(|node| {
        let pointers = node.elements(reader).unwrap_or_default();
        pointers.iter().filter_map(|pointer| pointer.read(reader, kinds::pointer)).collect()
    });
    let mut projection = name?.read(reader, |input| {
        let name = kinds::line(input)?;
        if name.contains('?') {
            return Err("must be a name alone; its parameters belong into \"params\"".to_owned());
        }
        Projection::new(name, params.clone().unwrap_or_default()).map_err(|error| error.to_string())
    })?;
    if let Some(alias) = alias {
        projection.key = ProjectionKey::new(alias);
    }
    projection.value_pointer = value_pointer.flatten();
    projection.ignore = ignore.unwrap_or_default();
    Some(projection)
}

fn params(reader: &Reader<'_>, node: Node<'_>) -> BTreeMap<String, String> {
    let mut object = node.object(reader);
    let params = object.nodes().into_iter();
    params.filter_map(|(name, node)| Some((name.to_owned(), node.read(reader, param)?))).collect()
}

/// A parameter as OGraph gets it: numbers exactly as they are written.
fn param(input: &Input<'_>) -> Read<String> {
    match input.raw {
        Raw::Json(ast::Value::StringLit(text)) => Ok(text.value.clone().into_owned()),
        Raw::Json(ast::Value::NumberLit(number)) => Ok(number.value.to_owned()),
        Raw::Json(ast::Value::BooleanLit(boolean)) => Ok(boolean.value.to_string()),
        Raw::Json(other) => Err(format!("must be a string, a number or a boolean, not {}", kind_of(other))),
        Raw::Variable(text) | Raw::Flag(text) => Ok(text.to_owned()),
    }
}
