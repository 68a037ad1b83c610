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

_ALBUM = """
create table album_photo (
    id integer primary key autoincrement, sha256 text not null unique, path text not null,
    size integer not null, modified_ns integer not null, width integer not null, height integer not null,
    added text not null, embedder_id text not null, dim integer not null, vector blob not null,
    thumbnail blob not null, check (length(vector) = 4 * dim)
);
create table album_region (
    id integer primary key autoincrement,
    photo_id integer not null references album_photo (id) on delete cascade,
    x0 real not null, y0 real not null, x1 real not null, y1 real not null,
    label text not null, score real not null, vector blob not null
);
create table album_hidden (
    id integer primary key autoincrement, photo_sha256 text not null,
    x0 real not null, y0 real not null, x1 real not null, y1 real not null
);
create table album_embedder (id text primary key, alike real not null) without rowid;

create index album_photo_at on album_photo (path);
create index album_region_of on album_region (photo_id);
create index album_hidden_in on album_hidden (photo_sha256);
create trigger album_photo_gone after delete on album_photo begin
    delete from album_hidden where photo_sha256 = old.sha256;
end;
insert into meta (key, value) values ('album_generation', '0');
"""


@MIGRATIONS()
def m001_concepts(db: Database) -> None:
    """Concepts with what hangs on them, and the journal.

    Ids are never used twice, since an index or cache may still speak of a row that is gone. The owner of a
    vector is a row of the table that `owner_kind` names. Pictures come last in their row, so that reading the
    rest stays quick.
    """
    db.executescript(_CONCEPTS)


@MIGRATIONS()
def m002_album(db: Database) -> None:
    """Photos that were looked at on purpose, with their regions; no name is written here.

    The vectors of a photo and of its regions are all of the photo's `embedder_id`; `alike` is the cosine from
    which on two vectors of an embedder may show the same individual. What the user hid in the inbox is known
    by the photo's hash and the box, so that it stays hidden when the photo is looked at anew.
    """
    db.executescript(_ALBUM)


@MIGRATIONS()
def m003_above(db: Database) -> None:
    """How many parts of a photo's path lie above what was added; null where it was added before this."""
    db.execute("alter table album_photo add column above integer")


@MIGRATIONS()
def m004_faces(db: Database) -> None:
    """Faces in a photo: float32 (n + 1, dim) of n regions and the whole, zeros where none was seen."""
    db.execute(
        "create table album_face ("
        " photo_id integer primary key references album_photo (id) on delete cascade,"
        " recogniser_id text not null, vectors blob not null)"
    )
