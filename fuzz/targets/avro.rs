//! Manifest lists that apache-avro writes: random schemas and values in every codec, drawn from the input as a seed. What
//! was written is what is read. Built only when asked for by name (feature `avro`), for its weight.
#![no_main]

use apache_avro::types::Value;
use apache_avro::{Codec, DeflateSettings, Schema, Writer, ZstandardSettings};
use serde_json::{Value as Json, json};

libfuzzer_sys::fuzz_target!(|seed: &[u8]| run(seed));

/// Wanted fields: id, type, whether it may be missing or null.
const FIELDS: [(i32, &str, bool); 10] = [
    (500, "string", false),
    (501, "long", false),
    (502, "int", false),
    (517, "int", true),
    (515, "long", true),
    (503, "long", true),
    (504, "int", true),
    (512, "long", true),
    (520, "long", true),
    (519, "bytes", true),
];

type Row = Vec<(i32, String)>;

struct Random(u64);

impl Random {
    /// A number that depends on every byte of the input.
    fn new(seed: &[u8]) -> Random {
        Random(
            seed.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
            }) | 1,
        )
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % bound
    }

    fn long(&mut self) -> i64 {
        let shift = self.below(64);
        self.next().cast_signed() >> shift
    }

    fn int(&mut self) -> i32 {
        i32::try_from(self.long() >> 32).unwrap_or(0)
    }
}

fn run(seed: &[u8]) {
    let mut random = Random::new(seed);
    let mut names = 0;
    let mut fields: Vec<(Option<i32>, Json)> = Vec::new();
    for (id, of, optional) in FIELDS {
        if optional && random.below(4) == 0 {
            continue;
        }
        let of = if of == "long" && random.below(3) == 0 { "int" } else { of };
        let of = match (optional, random.below(3)) {
            (true, 0) => json!(["null", of]),
            (true, 1) => json!([of, "null"]),
            _ => json!(of),
        };
        fields.insert(random.below(fields.len() + 1), (Some(id), of));
        while random.below(3) == 0 {
            let of = other(&mut random, &mut names, 3);
            fields.insert(random.below(fields.len() + 1), (None, of));
        }
    }
    let listed: Vec<Json> = fields
        .iter()
        .enumerate()
        .map(|(at, (id, of))| json!({"name": format!("f{at}"), "type": of, "field-id": id.unwrap_or(9000)}))
        .collect();
    let schema = json!({"type": "record", "name": "manifest_file", "fields": listed});
    let schema = Schema::parse(&schema).expect("a schema of the test's own");
    let codec = match random.below(4) {
        0 => Codec::Null,
        1 => Codec::Deflate(DeflateSettings::default()),
        2 => Codec::Snappy,
        _ => Codec::Zstandard(ZstandardSettings::default()),
    };
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec);
    let mut written: Vec<Row> = Vec::new();
    for _ in 0..random.below(9) {
        let mut row = Row::new();
        let values = fields.iter().enumerate().map(|(at, (id, of))| {
            let value = value(of, &mut random);
            if let Some(id) = id {
                row.extend(read(&value).map(|text| (*id, text)));
            }
            (format!("f{at}"), value)
        });
        let record = Value::Record(values.collect());
        writer.append(record).expect("a value of the schema");
        row.sort_unstable();
        written.push(row);
        if random.below(3) == 0 {
            writer.flush().expect("memory");
        }
    }
    let file = writer.into_inner().expect("memory");
    assert_eq!(nilas_catalog::manifest::fuzz_rows(&file, true), Ok(written), "{}", schema.canonical_form());
}

/// What the reader says of a wanted value.
fn read(value: &Value) -> Option<String> {
    match value {
        Value::Union(_, value) => read(value),
        Value::Int(number) => Some(number.to_string()),
        Value::Long(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Bytes(bytes) => Some(format!("{bytes:?}")),
        _ => None,
    }
}

/// A type that nobody asks for.
fn other(random: &mut Random, names: &mut u32, depth: u32) -> Json {
    *names += 1;
    let name = format!("n{names}");
    let simple = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    match random.below(if depth == 0 { 10 } else { 14 }) {
        at @ 0..8 => json!(simple[at]),
        8 => json!({"type": "fixed", "name": name, "size": random.below(9)}),
        9 => json!({"type": "enum", "name": name, "symbols": ["A", "B", "C"]}),
        10 => json!({"type": "array", "items": other(random, names, depth - 1)}),
        11 => json!({"type": "map", "values": other(random, names, depth - 1)}),
        12 => {
            json!(["null", {"type": "record", "name": name, "fields": [{"name": "a", "type": other(random, names, depth - 1)}]}])
        }
        _ => {
            let fields: Vec<Json> = (0..random.below(4))
                .map(|at| json!({"name": format!("f{at}"), "type": other(random, names, depth - 1)}))
                .collect();
            json!({"type": "record", "name": name, "fields": fields})
        }
    }
}

/// A random value of a type.
fn value(of: &Json, random: &mut Random) -> Value {
    if let Some(branches) = of.as_array() {
        let at = random.below(branches.len());
        return Value::Union(u32::try_from(at).unwrap_or(0), Box::new(value(&branches[at], random)));
    }
    match of["type"].as_str().or(of.as_str()).unwrap_or("null") {
        "boolean" => Value::Boolean(random.below(2) == 1),
        "int" => Value::Int(random.int()),
        "long" => Value::Long(random.long()),
        "float" => Value::Float(1.5),
        "double" => Value::Double(-2.5),
        "bytes" => Value::Bytes(vec![7; random.below(300)]),
        "string" => Value::String("ä".repeat(random.below(200))),
        "fixed" => {
            let size = usize::try_from(of["size"].as_u64().unwrap_or(0)).unwrap_or(0);
            Value::Fixed(size, vec![9; size])
        }
        "enum" => Value::Enum(1, "B".to_owned()),
        "array" => Value::Array((0..random.below(5)).map(|_| value(&of["items"], random)).collect()),
        "map" => {
            let pairs = (0..random.below(5)).map(|at| (at.to_string(), value(&of["values"], random)));
            Value::Map(pairs.collect())
        }
        "record" => {
            let fields = of["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
            let named = fields.iter().map(|field| {
                (field["name"].as_str().unwrap_or_default().to_owned(), value(&field["type"], random))
            });
            Value::Record(named.collect())
        }
        _ => Value::Null,
    }
}
