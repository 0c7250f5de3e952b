//! The one table of the catalog's operations: what is served, at which method and path, and what it is judged by.
//!
//! `route` finds rows by it, `rest` authorizes by it, `config` lists it to clients, and the http crate counts requests
//! by its names. An operation is added as one row here and its handler in `rest`, which the compiler asks for.

use crate::access::{Api, BodyKind, Effect, NamedIn, OperationFacts, ResourceKind};

/// One row.
#[derive(Debug)]
pub struct OperationRow {
    /// What all tables of operations have in common.
    pub facts: OperationFacts,
    /// Upper case.
    pub method: &'static str,
    /// As the specification spells it, from `/v1` on.
    pub path: &'static str,
    /// Whether `GET /v1/config` lists it, which is for operations of the specification that clients ask for there.
    pub listed: bool,
}

macro_rules! operations {
    ($($operation:ident $name:literal $method:ident $path:literal $action:literal
        $resource:ident $named:ident $body:ident $effect:ident $listed:literal;)*) => {
        /// The operations of the catalog.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the specification's own names, and MinIO's for warehouses")]
        pub enum Operation {
            $($operation,)*
        }

        impl Operation {
            /// All operations, in the order of the table.
            pub const ALL: &'static [Operation] = &[$(Operation::$operation,)*];
        }

        const TABLE: &[OperationRow] = &[$(OperationRow {
            facts: OperationFacts {
                name: $name,
                api: Api::Iceberg,
                action: $action,
                resource: ResourceKind::$resource,
                named: NamedIn::$named,
                body: BodyKind::$body,
                effect: Effect::$effect,
            },
            method: stringify!($method),
            path: $path,
            listed: $listed,
        },)*];
    };
}

// Methods of one path stand in the order in which `Allow` names them, listed rows in that of the specification.
operations! {
//  variant, name, method, path, action, judged on, named in, body, effect, listed
    GetConfig             "getConfig"             GET    "/v1/config"                                                 "s3tables:GetConfig"                 Warehouse Head Empty Reads   false;
    GetToken              "getToken"              POST   "/v1/oauth/tokens"                                           "s3tables:GetToken"                  Public    Head Form  Reads   false;
    ListWarehouses        "listWarehouses"        GET    "/v1/warehouses"                                             "s3tables:ListTableBuckets"          Service   Head Empty Reads   false;
    CreateWarehouse       "createWarehouse"       POST   "/v1/warehouses"                                             "s3tables:CreateTableBucket"         Warehouse Body Json  Changes false;
    GetWarehouse          "getWarehouse"          GET    "/v1/warehouses/{warehouse}"                                 "s3tables:GetTableBucket"            Warehouse Head Empty Reads   false;
    DeleteWarehouse       "deleteWarehouse"       DELETE "/v1/warehouses/{warehouse}"                                 "s3tables:DeleteTableBucket"         Warehouse Head Empty Changes false;
    ListNamespaces        "listNamespaces"        GET    "/v1/{prefix}/namespaces"                                    "s3tables:ListNamespaces"            Warehouse Head Empty Reads   true;
    CreateNamespace       "createNamespace"       POST   "/v1/{prefix}/namespaces"                                    "s3tables:CreateNamespace"           Namespace Body Json  Changes true;
    LoadNamespaceMetadata "loadNamespaceMetadata" GET    "/v1/{prefix}/namespaces/{namespace}"                        "s3tables:GetNamespace"              Namespace Head Empty Reads   true;
    NamespaceExists       "namespaceExists"       HEAD   "/v1/{prefix}/namespaces/{namespace}"                        "s3tables:GetNamespace"              Namespace Head Empty Reads   true;
    DropNamespace         "dropNamespace"         DELETE "/v1/{prefix}/namespaces/{namespace}"                        "s3tables:DeleteNamespace"           Namespace Head Empty Changes true;
    UpdateProperties      "updateProperties"      POST   "/v1/{prefix}/namespaces/{namespace}/properties"             "s3tables:UpdateNamespaceProperties" Namespace Head Json  Changes true;
    ListTables            "listTables"            GET    "/v1/{prefix}/namespaces/{namespace}/tables"                 "s3tables:ListTables"                Namespace Head Empty Reads   true;
    CreateTable           "createTable"           POST   "/v1/{prefix}/namespaces/{namespace}/tables"                 "s3tables:CreateTable"               Table     Body Json  Changes true;
    LoadTable             "loadTable"             GET    "/v1/{prefix}/namespaces/{namespace}/tables/{table}"         "s3tables:GetTable"                  Table     Head Empty Reads   true;
    TableExists           "tableExists"           HEAD   "/v1/{prefix}/namespaces/{namespace}/tables/{table}"         "s3tables:GetTable"                  Table     Head Empty Reads   true;
    UpdateTable           "updateTable"           POST   "/v1/{prefix}/namespaces/{namespace}/tables/{table}"         "s3tables:UpdateTable"               Table     Body Json  Changes true;
    DropTable             "dropTable"             DELETE "/v1/{prefix}/namespaces/{namespace}/tables/{table}"         "s3tables:DeleteTable"               Table     Head Empty Changes true;
    RegisterTable         "registerTable"         POST   "/v1/{prefix}/namespaces/{namespace}/register"               "s3tables:RegisterTable"             Table     Body Json  Changes true;
    LoadCredentials       "loadCredentials"       GET    "/v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials" "s3tables:GetTableData"          Table     Head Empty Reads   true;
    ReportMetrics         "reportMetrics"         POST   "/v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics" "s3tables:TableMetrics"              Table     Head Json  Reads   true;
    RenameTable           "renameTable"           POST   "/v1/{prefix}/tables/rename"                                 "s3tables:RenameTable"               Table     Body Json  Changes true;
    CommitTransaction     "commitTransaction"     POST   "/v1/{prefix}/transactions/commit"                           "s3tables:UpdateTable"               Table     Body Json  Changes true;
}

impl Operation {
    /// Returns its row of the table.
    pub fn row(self) -> &'static OperationRow {
        &TABLE[self as usize]
    }

    /// Whether a plus in its path is a blank and nothing else: what destroys or replaces must not go on to another name when
    /// it is sent again.
    pub(crate) fn reads_plus_as_blank(self) -> bool {
        self.row().method == "DELETE" || self == Operation::RegisterTable
    }

    /// Returns what it has in common with operations of other APIs.
    pub fn facts(self) -> &'static OperationFacts {
        &self.row().facts
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_the_variants_and_unique() {
        let mut names = HashSet::new();
        let mut places = HashSet::new();
        for operation in Operation::ALL {
            let row = operation.row();
            let variant = format!("{operation:?}");
            assert!(row.facts.name.eq_ignore_ascii_case(&variant), "{variant}");
            assert!(row.facts.name.starts_with(|first: char| first.is_ascii_lowercase()), "{variant}");
            assert!(names.insert(row.facts.name), "{variant}");
            assert!(places.insert((row.method, row.path)), "{variant}");
            assert!(row.facts.action.starts_with("s3tables:"), "{variant}");
            assert_eq!(row.facts.effect == Effect::Changes, row.facts.changes_by_action(), "{variant}");
        }
    }

    #[test]
    fn what_destroys_reads_a_plus_in_one_way() {
        let strict: Vec<_> =
            Operation::ALL.iter().filter(|operation| operation.reads_plus_as_blank()).collect();
        let want = [
            Operation::DeleteWarehouse,
            Operation::DropNamespace,
            Operation::DropTable,
            Operation::RegisterTable,
        ];
        assert_eq!(strict, want.iter().collect::<Vec<_>>());
    }

    impl OperationFacts {
        /// Whether its permission is one to change something.
        fn changes_by_action(&self) -> bool {
            let action = self.action.split_once(':').map_or("", |(_, action)| action);
            !["Get", "List", "TableMetrics"].iter().any(|reads| action.starts_with(reads))
        }
    }
}
