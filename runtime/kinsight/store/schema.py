"""The tables of the store, as migrations: never edit one that was released, append another."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

APPLICATION_ID = 0x6B696E73
"""`kins`, in the file's header: tells a store from any other SQLite file."""

MIGRATIONS = Migrations("kinsight")


_CONCEPTS = """
create table concept (
    id integer primary key autoincrement, name text not null, name_key text not null unique,
    category text not null, info text not null, fingerprint text,
    created text not null, changed text not null
);
create table alias (
    id integer primary key autoincrement,
    concept_id integer not null references concept (id) on delete cascade,
    alias text not null, alias_key text not null unique
);
create table view (
    id integer primary key autoincrement,
    concept_id integer not null references concept (id) on delete cascade,
    x0 real not null, y0 real not null, x1 real not null, y1 real not null,
    photo_sha256 text not null, created text not null, picture blob not null
);
create table negative (
    id integer primary key autoincrement,
    concept_id integer not null references concept (id) on delete cascade,
    x0 real not null, y0 real not null, x1 real not null, y1 real not null,
    photo_sha256 text not null, created text not null, picture blob not null
);
create table vector (
    id integer primary key autoincrement,
    owner_kind text not null, owner_id integer not null,
    embedder_id text not null, dim integer not null, vector blob not null,
    unique (embedder_id, owner_kind, owner_id), check (length(vector) = 4 * dim)
);
create table journal (
    id integer primary key autoincrement, at text not null, verb text not null, summary text not null
);
create table journal_row (
    id integer primary key autoincrement,
    journal_id integer not null references journal (id) on delete cascade,
    concept_id integer not null, table_name text not null, row_id integer not null, before text
);
create table meta (key text primary key, value text not null) without rowid;

create index alias_of on alias (concept_id);
create index view_of on view (concept_id);
create index negative_of on negative (concept_id);
create index journal_row_of on journal_row (journal_id);
create trigger view_gone after delete on view begin
    delete from vector where owner_kind = 'view' and owner_id = old.id;
end;
create trigger negative_gone after delete on negative begin
    delete from vector where owner_kind = 'negative' and owner_id = old.id;
end;
insert into meta (key, value) values ('generation', '0');
"""


@MIGRATIONS()
def m001_concepts(db: Database) -> None:
    """Concepts with what hangs on them, and the journal.

    Ids are never used twice, since an index or cache may still speak of a row that is gone. The owner of a
    vector is a row of the table that `owner_kind` names. Pictures come last in their row, so that reading the
    rest stays quick.
    """
    db.executescript(_CONCEPTS)
