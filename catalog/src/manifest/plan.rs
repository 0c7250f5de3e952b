//! What to do with each byte of a record: the writer's schema, compiled against the Iceberg field ids that are wanted.
//! `list` and `entry` say what they want and take it out of a [`Row`].
//!
//! I1. Fields are found by id alone; name and order do not matter, and what is not wanted is stepped over.
//! I2. A wanted field with another type is refused before the first record, not while reading.

use super::cursor::Cursor;
use super::error::{AvroError, Got};
use super::schema::{Schema, Type, TypeAt, branch};

/// Values that a row has room for.
pub(super) const ROW_SLOTS: usize = 20;

/// What is wanted of a record.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) id: i32,
    /// A file without the field is refused.
    pub(super) required: bool,
    pub(super) of: Kind,
}

/// The kind of a wanted value, and its place in the row.
#[derive(Debug)]
pub(super) enum Kind {
    /// An `int` or `long`.
    Number(usize),
    Text(usize),
    Bytes(usize),
    /// Fields of a record within.
    Record(&'static [Wanted]),
}

/// A value of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Slot<'a> {
    #[default]
    Absent,
    Number(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// The wanted values of one record, by their places.
#[derive(Clone, Debug, Default)]
pub(super) struct Row<'a> {
    slots: [Slot<'a>; ROW_SLOTS],
}

impl<'a> Row<'a> {
    pub(super) fn number(&self, slot: usize) -> Option<i64> {
        match self.slots.get(slot) {
            Some(Slot::Number(number)) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self, slot: usize) -> Option<&'a str> {
        match self.slots.get(slot) {
            Some(Slot::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, slot: usize) -> Option<&'a [u8]> {
        match self.slots.get(slot) {
            Some(Slot::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    fn set(&mut self, slot: usize, value: Slot<'a>) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = value;
        }
    }
}

#[derive(Debug)]
enum Step {
    Skip(TypeAt),
    Null,
    Int(usize),
    Long(usize),
    Text(usize),
    Bytes(usize),
    Fixed(usize, usize),
    Union(Vec<Step>),
    Record(Vec<Step>),
    /// A step for the value of the field with this id.
    Field(i32, Box<Step>),
}

/// How the records of one file are read.
#[derive(Debug)]
pub(super) struct Plan {
    schema: Schema,
    step: Step,
}

impl Plan {
    /// Compiles `schema` for records of which `wanted` is wanted. `at` is what errors name as their place.
    pub(super) fn new(schema: Schema, wanted: &'static [Wanted], at: usize) -> Result<Plan, AvroError> {
        let step = compile(&schema, schema.root(), &Kind::Record(wanted), at)?;
        match step {
            Step::Record(_) => Ok(Plan { schema, step }),
            _ => Err(AvroError::new(at, Got::Nothing, "records")),
        }
    }

    /// Reads the next record.
    pub(super) fn read<'a>(&self, cursor: &mut Cursor<'a>, row: &mut Row<'a>) -> Result<(), AvroError> {
        run(&self.schema, &self.step, cursor, row)
    }
}

fn compile(schema: &Schema, of: TypeAt, kind: &Kind, at: usize) -> Result<Step, AvroError> {
    match (schema.get(of), kind) {
        (Type::Union(branches), _) => {
            let values = branches.iter().filter(|branch| !matches!(schema.get(**branch), Type::Null)).count();
            if 1 < values {
                return Err(AvroError::new(at, Got::count(values), "a union of one type and null"));
            }
            let steps = branches.iter().map(|branch| compile(schema, *branch, kind, at));
            Ok(Step::Union(steps.collect::<Result<_, _>>()?))
        }
        (Type::Null, _) => Ok(Step::Null),
        (Type::Int, Kind::Number(slot)) => Ok(Step::Int(*slot)),
        (Type::Long, Kind::Number(slot)) => Ok(Step::Long(*slot)),
        (Type::Text, Kind::Text(slot)) => Ok(Step::Text(*slot)),
        (Type::Bytes, Kind::Bytes(slot)) => Ok(Step::Bytes(*slot)),
        (Type::Fixed(width), Kind::Bytes(slot)) => Ok(Step::Fixed(*width, *slot)),
        (Type::Record(_), Kind::Record(wanted)) => compile_record(schema, of, wanted, at),
        (other, _) => {
            let expected = match kind {
                Kind::Number(_) => "an int or long",
                Kind::Text(_) => "a string",
                Kind::Bytes(_) => "bytes",
                Kind::Record(_) => "a record",
            };
            Err(AvroError::new(at, Got::Text(other.name().into()), expected))
        }
    }
}

fn compile_record(
    schema: &Schema,
    of: TypeAt,
    wanted: &'static [Wanted],
    at: usize,
) -> Result<Step, AvroError> {
    let Type::Record(fields) = schema.get(of) else {
        return Err(AvroError::new(at, Got::Nothing, "a record"));
    };
    for want in wanted {
        match fields.iter().filter(|field| field.id == Some(want.id)).count() {
            0 if want.required => {
                return Err(AvroError::new(at, Got::Nothing, "the field in the schema").in_field(want.id));
            }
            0 | 1 => {}
            count => {
                return Err(AvroError::new(at, Got::count(count), "the field once").in_field(want.id));
            }
        }
    }
    let mut steps = Vec::with_capacity(fields.len());
    for field in fields {
        let step = match wanted.iter().find(|want| field.id == Some(want.id)) {
            None => Step::Skip(field.of),
            Some(want) => {
                let step = compile(schema, field.of, &want.of, at).map_err(|e| e.in_field(want.id))?;
                Step::Field(want.id, Box::new(step))
            }
        };
        steps.push(step);
    }
    Ok(Step::Record(steps))
}

fn run<'a>(
    schema: &Schema,
    step: &Step,
    cursor: &mut Cursor<'a>,
    row: &mut Row<'a>,
) -> Result<(), AvroError> {
    match step {
        Step::Skip(of) => return schema.skip(*of, cursor),
        Step::Null => {}
        Step::Int(slot) => row.set(*slot, Slot::Number(i64::from(cursor.int()?))),
        Step::Long(slot) => row.set(*slot, Slot::Number(cursor.long()?)),
        Step::Text(slot) => row.set(*slot, Slot::Text(cursor.text()?)),
        Step::Bytes(slot) => row.set(*slot, Slot::Bytes(cursor.bytes()?)),
        Step::Fixed(width, slot) => row.set(*slot, Slot::Bytes(cursor.take(*width)?)),
        Step::Union(branches) => {
            let step = branch(branches, cursor)?;
            return run(schema, step, cursor, row);
        }
        Step::Record(steps) => {
            for step in steps {
                run(schema, step, cursor, row)?;
            }
        }
        Step::Field(id, step) => {
            return run(schema, step, cursor, row).map_err(|error| error.in_field(*id));
        }
    }
    Ok(())
}
