//! Types of columns: their names read, checked, and written as the reference writes them.
//! `schema` indexes fields with them, `single_value` reads defaults by them, `partition` asks what a transform takes.
//! I1. What [`Type::parse`] accepts has one spelling: `Type::parse(ty.to_string()) == ty`.
//! I2. Reading is tolerant, for tables that are kept already; [`Type::check`] is what new ones must pass.

use std::fmt;

use super::json;

/// A field's type; nested ones without their inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Date,
    Time,
    Timestamp {
        nanos: bool,
        zoned: bool,
    },
    String,
    Uuid,
    Binary,
    Fixed(u32),
    Decimal {
        precision: u32,
        scale: u32,
    },
    Variant,
    Unknown,
    /// With its coordinate reference system; empty is `OGC:CRS84`.
    Geometry(String),
    /// With its coordinate reference system and edge algorithm; empty is `OGC:CRS84` and no algorithm named.
    Geography(String),
    Struct,
    List,
    Map,
}

/// The coordinate reference system of a geometry or geography that names none.
const CRS_DEFAULT: &str = "OGC:CRS84";

/// How the edges of a geography may be interpolated.
const EDGE_ALGORITHMS: [&str; 5] = ["spherical", "vincenty", "thomas", "andoyer", "karney"];

/// The largest number in a type or transform: an `int` of the reference.
pub(super) const PARAMETER_MAX: u32 = i32::MAX.unsigned_abs();

impl Type {
    /// Reads a primitive type's name; `None` for a name no version knows.
    pub(crate) fn parse(text: &str) -> Option<Type> {
        let name = text.trim().to_ascii_lowercase();
        let stamp = |nanos, zoned| Type::Timestamp { nanos, zoned };
        Some(match name.as_str() {
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "date" => Type::Date,
            "time" => Type::Time,
            "timestamp" => stamp(false, false),
            "timestamptz" => stamp(false, true),
            "timestamp_ns" => stamp(true, false),
            "timestamptz_ns" => stamp(true, true),
            "string" => Type::String,
            "uuid" => Type::Uuid,
            "binary" => Type::Binary,
            "variant" => Type::Variant,
            "unknown" => Type::Unknown,
            "geometry" => Type::Geometry(String::new()),
            "geography" => Type::Geography(String::new()),
            _ => return Type::parse_parameters(text.trim(), &name),
        })
    }

    fn parse_parameters(text: &str, name: &str) -> Option<Type> {
        if let Some(len) = name.strip_prefix("fixed[").and_then(|r| r.strip_suffix(']')) {
            return digits(len).map(Type::Fixed);
        }
        if let Some(inner) = name.strip_prefix("decimal(").and_then(|r| r.strip_suffix(')')) {
            let (precision, scale) = inner.split_once(',')?;
            let (precision, scale) = (digits(precision)?, digits(scale)?);
            return (1..=38).contains(&precision).then_some(Type::Decimal { precision, scale });
        }
        // coordinate systems keep their case
        let inner = |kind: &str| {
            name.starts_with(kind)
                .then(|| text.get(kind.len()..))??
                .trim_start()
                .strip_prefix('(')?
                .strip_suffix(')')
        };
        if let Some(crs) = inner("geometry") {
            let crs = parts(crs).join(", ");
            return Some(Type::Geometry(if is_default_crs(&crs) { String::new() } else { crs }));
        }
        let mut parameters = parts(inner("geography")?);
        let algorithm = parameters.get(1).map(|a| a.to_ascii_lowercase());
        if let (Some(known), Some(sent)) = (&algorithm, parameters.get_mut(1))
            && EDGE_ALGORITHMS.contains(&known.as_str())
        {
            *sent = known;
        }
        if is_default_crs(parameters.first()?) {
            parameters[0] = CRS_DEFAULT;
        }
        if parameters == [CRS_DEFAULT] {
            parameters.clear();
        }
        Some(Type::Geography(parameters.join(", ")))
    }

    /// Refuses parameters that the reference cannot read, with its words; reading tolerates them.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Type::Fixed(n) if PARAMETER_MAX < *n => Err(format!("Invalid length of fixed: {n}")),
            Type::Decimal { scale, .. } if PARAMETER_MAX < *scale => Err(format!("Invalid scale: {scale}")),
            Type::Geometry(crs) if crs.contains([',', ')']) => {
                Err(format!("Invalid CRS: {}", json::clip(crs)))
            }
            Type::Geography(parameters) if !parameters.is_empty() => {
                let (crs, algorithm) = match parameters.split_once(", ") {
                    Some((crs, algorithm)) => (crs, Some(algorithm)),
                    None => (parameters.as_str(), None),
                };
                if crs.is_empty() {
                    return Err("Invalid CRS: (empty string)".to_owned());
                }
                match algorithm.filter(|a| !EDGE_ALGORITHMS.contains(a)) {
                    Some(other) => {
                        Err(format!("Invalid edge interpolation algorithm: {}", json::clip(other)))
                    }
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn is_primitive(&self) -> bool {
        !matches!(self, Type::Struct | Type::List | Type::Map | Type::Variant)
    }

    /// True for the types that format version 3 brought.
    pub(crate) fn needs_v3(&self) -> bool {
        match self {
            Type::Timestamp { nanos, .. } => *nanos,
            Type::Variant | Type::Unknown | Type::Geometry(_) | Type::Geography(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Type::Boolean => "boolean",
            Type::Int => "int",
            Type::Long => "long",
            Type::Float => "float",
            Type::Double => "double",
            Type::Date => "date",
            Type::Time => "time",
            Type::Timestamp { nanos: false, zoned: false } => "timestamp",
            Type::Timestamp { nanos: false, zoned: true } => "timestamptz",
            Type::Timestamp { nanos: true, zoned: false } => "timestamp_ns",
            Type::Timestamp { nanos: true, zoned: true } => "timestamptz_ns",
            Type::String => "string",
            Type::Uuid => "uuid",
            Type::Binary => "binary",
            Type::Fixed(len) => return write!(f, "fixed[{len}]"),
            Type::Decimal { precision, scale } => return write!(f, "decimal({precision}, {scale})"),
            Type::Variant => "variant",
            Type::Unknown => "unknown",
            Type::Geometry(crs) if crs.is_empty() => "geometry",
            Type::Geography(parameters) if parameters.is_empty() => "geography",
            Type::Geometry(crs) => return write!(f, "geometry({crs})"),
            Type::Geography(parameters) => return write!(f, "geography({parameters})"),
            Type::Struct => "struct",
            Type::List => "list",
            Type::Map => "map",
        };
        f.write_str(name)
    }
}

fn digits(text: &str) -> Option<u32> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn parts(parameters: &str) -> Vec<&str> {
    parameters.split(',').map(str::trim).collect()
}

fn is_default_crs(crs: &str) -> bool {
    crs.eq_ignore_ascii_case(CRS_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::Type;

    #[test]
    fn type_names() {
        let check = |text: &str, want: Option<&str>| {
            let got = Type::parse(text);
            assert_eq!(got.as_ref().map(Type::to_string).as_deref(), want, "{text}");
            if let Some(ty) = got {
                assert_eq!(Type::parse(&ty.to_string()), Some(ty), "{text}");
            }
        };
        check("STRING", Some("string"));
        check("decimal(9,2)", Some("decimal(9, 2)"));
        check("decimal(9, 2)", Some("decimal(9, 2)"));
        check("decimal( 9 ,2 )", Some("decimal(9, 2)"));
        check("decimal(39,2)", None);
        check("decimal(0,0)", None);
        check("decimal(9,-2)", None);
        check("fixed[16]", Some("fixed[16]"));
        check("Fixed[ 016 ]", Some("fixed[16]"));
        check("fixed[99999999999]", None);
        check("TIMESTAMPTZ_NS", Some("timestamptz_ns"));
        check("geometry", Some("geometry"));
        check("GEOMETRY ( srid:4326 )", Some("geometry(srid:4326)"));
        check("geometry(ogc:crs84)", Some("geometry"));
        check("geography(OGC:CRS84,KARNEY)", Some("geography(OGC:CRS84, karney)"));
        check("geography( ogc:crs84 )", Some("geography"));
        check("geography(Srid:1)", Some("geography(Srid:1)"));
        check("geometrysrid", None);
        check("decimal", None);
        check("", None);
        check("ſtring(", None);
    }

    #[test]
    fn parameters_the_reference_cannot_read() {
        let check = |text: &str, want: Option<&str>| {
            let ty = Type::parse(text).expect("a type that is read");
            assert_eq!(ty.check().err().as_deref(), want, "{text}");
        };
        check("fixed[2147483647]", None);
        check("fixed[2147483648]", Some("Invalid length of fixed: 2147483648"));
        check("decimal(9,2147483648)", Some("Invalid scale: 2147483648"));
        check("geometry(srid:4326)", None);
        check("geometry(a,b)", Some("Invalid CRS: a, b"));
        check("geometry(a)b)", Some("Invalid CRS: a)b"));
        check("geography(srid:1, thomas)", None);
        check("geography(,karney)", Some("Invalid CRS: (empty string)"));
        check("geography(srid:1,foo)", Some("Invalid edge interpolation algorithm: foo"));
        check("geography(srid:1,karney,x)", Some("Invalid edge interpolation algorithm: karney, x"));
    }
}
