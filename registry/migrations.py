"""The schema, step by step. A step that was released stays as it is; a change is a new one."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("embconv")


def run(db: Database, script: str) -> None:
    """Each statement of a script within the present transaction; executescript would end that."""
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)


EMBEDDINGS = """
CREATE TABLE embeddings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL UNIQUE,          -- 64 hex, without emb:
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,               -- as it is looked up: without regard to case, in every script
    trigger TEXT NOT NULL,
    trigger_key TEXT NOT NULL,
    base TEXT,
    own_base TEXT,                        -- what the vectors say by themselves; a claim that fits them says more
    role TEXT NOT NULL DEFAULT 'unknown',
    encoders TEXT NOT NULL,               -- JSON: key -> vectors, width, dtype
    output_encoders TEXT NOT NULL DEFAULT '{}',
    vectors INTEGER NOT NULL,             -- the most of any encoder
    findings TEXT NOT NULL DEFAULT '[]',  -- JSON
    nsfw TEXT,
    licence TEXT,                         -- JSON of Licence
    verdict TEXT,
    notes TEXT NOT NULL DEFAULT '',
    downloads INTEGER NOT NULL DEFAULT 0,
    edited TEXT NOT NULL DEFAULT '[]',    -- JSON: fields that a person set, which no claim changes
    added TEXT NOT NULL,
    changed TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'removed', 'blocked')),
    state_at TEXT,
    state_why TEXT NOT NULL DEFAULT '',
    revision INTEGER NOT NULL,            -- of the registry when this row last changed, never the same twice
    facts BLOB NOT NULL DEFAULT ''        -- JSON of model.Facts: what a search filters by, made anew with every change
);
CREATE UNIQUE INDEX embeddings_revision ON embeddings (revision);
CREATE INDEX embeddings_name ON embeddings (name_key);
CREATE INDEX embeddings_trigger ON embeddings (trigger_key);
CREATE INDEX embeddings_absent ON embeddings (state) WHERE state != 'present';

CREATE TABLE documents (                  -- apart, so that a walk over embeddings does not read them
    id INTEGER PRIMARY KEY REFERENCES embeddings (id),
    document BLOB NOT NULL                -- JSON of model.Entry, made anew with every change
);

CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    container TEXT NOT NULL,
    layout TEXT NOT NULL,
    hashes TEXT NOT NULL,                 -- JSON of converters.Hashes
    added TEXT NOT NULL,
    removed TEXT,                         -- when its bytes went
    removed_why TEXT NOT NULL DEFAULT ''
);
CREATE INDEX files_size ON files (size) WHERE removed IS NULL;

CREATE TABLE embedding_files (            -- which embeddings a file holds, in its order
    embedding_id INTEGER NOT NULL REFERENCES embeddings (id),
    file_id INTEGER NOT NULL REFERENCES files (id),
    place INTEGER NOT NULL,
    PRIMARY KEY (embedding_id, file_id, place)
) WITHOUT ROWID;
CREATE INDEX embedding_files_file ON embedding_files (file_id);

CREATE TABLE hashes (                     -- lower case, without those that are the beginning of another
    value TEXT NOT NULL,
    kind TEXT NOT NULL,
    embedding_id INTEGER NOT NULL REFERENCES embeddings (id),
    file_id INTEGER NOT NULL,             -- of what it was computed, or who claims it; 0 for no file
    claim INTEGER NOT NULL,
    PRIMARY KEY (value, kind, embedding_id, file_id, claim)
) WITHOUT ROWID;
CREATE INDEX hashes_embedding ON hashes (embedding_id);

CREATE TABLE names (
    embedding_id INTEGER NOT NULL REFERENCES embeddings (id),
    kind TEXT NOT NULL,
    file_id INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (embedding_id, kind, file_id, value)
) WITHOUT ROWID;

CREATE TABLE tags (                       -- those that a person gave; the others are claims of origins
    embedding_id INTEGER NOT NULL REFERENCES embeddings (id),
    tag TEXT NOT NULL,
    PRIMARY KEY (embedding_id, tag)
) WITHOUT ROWID;

CREATE TABLE origins (                    -- only ever added to
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    embedding_id INTEGER NOT NULL REFERENCES embeddings (id),
    sha256 TEXT,
    source TEXT NOT NULL,
    source_id TEXT,
    url TEXT,
    seen TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'present',
    claims TEXT NOT NULL DEFAULT '{}'   -- JSON
);
CREATE INDEX origins_embedding ON origins (embedding_id);
CREATE INDEX origins_source ON origins (source, source_id);

CREATE TABLE revisions (id INTEGER PRIMARY KEY CHECK (id = 1), latest INTEGER NOT NULL);
INSERT INTO revisions VALUES (1, 0);

CREATE VIRTUAL TABLE words USING fts5 (   -- rowid is embeddings.id
    name, trigger, names, creators, tags, titles, notes, descriptions,
    prefix='1 2 3', tokenize='unicode61 remove_diacritics 2'  -- letters and digits make words, everything else parts them
);
"""


@migrations()
def m001_embeddings(db: Database) -> None:
    """Embeddings, the files that hold them and everything that is told of them."""
    run(db, EMBEDDINGS)


OPERATIONS = """
CREATE TABLE keys (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('read', 'write', 'admin')),
    hash TEXT NOT NULL UNIQUE,            -- SHA-256 of the secret
    created TEXT NOT NULL,
    expires TEXT,
    revoked TEXT
);
CREATE TABLE refusals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    code TEXT NOT NULL,
    says TEXT NOT NULL,
    source TEXT NOT NULL
);
CREATE INDEX refusals_sha256 ON refusals (sha256);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    ref TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    attempt INTEGER NOT NULL DEFAULT 0,
    leased_until TEXT,
    leased_by TEXT,
    created TEXT NOT NULL,
    changed TEXT NOT NULL,
    input TEXT NOT NULL DEFAULT '{}',
    result TEXT
);
CREATE INDEX jobs_waiting ON jobs (kind, state, leased_until);
CREATE TABLE sync_state (
    source TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    changed TEXT NOT NULL,
    PRIMARY KEY (source, key)
) WITHOUT ROWID;
"""


@migrations()
def m002_operations(db: Database) -> None:
    """Keys, refusals, jobs, sync state, and what test renders gave."""
    run(db, OPERATIONS)


CIVITAI = """
CREATE TABLE civitai_models (             -- what Civitai said last of a model, whole; kept when Civitai forgets it
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL,                   -- JSON without the versions; descriptions are sanitised
    shown TEXT NOT NULL,                  -- how it is listed: 'nsfw' with nsfw=true, 'pg' without, 'no' only by its id
    state TEXT NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'gone')),
    walk INTEGER NOT NULL DEFAULT 0,      -- in which it was met last
    seen TEXT NOT NULL,                   -- when Civitai last told of it
    asked TEXT NOT NULL                   -- when it was last asked for it
);
CREATE INDEX civitai_models_walk ON civitai_models (walk);
CREATE INDEX civitai_models_asked ON civitai_models (shown, asked);
CREATE TABLE civitai_versions (
    id INTEGER PRIMARY KEY,
    model_id INTEGER NOT NULL REFERENCES civitai_models (id),
    place INTEGER NOT NULL,               -- among those of its model, the newest first
    body BLOB NOT NULL,                   -- JSON without the files
    state TEXT NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'gone')),
    walk INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX civitai_versions_model ON civitai_versions (model_id);
CREATE TABLE civitai_files (
    id INTEGER PRIMARY KEY,
    model_id INTEGER NOT NULL REFERENCES civitai_models (id),
    version_id INTEGER NOT NULL REFERENCES civitai_versions (id),
    body BLOB NOT NULL,                   -- JSON
    sha256 TEXT,                          -- as Civitai says; none while a scan is pending
    claims TEXT NOT NULL,                 -- JSON: what its embeddings' line of origin says
    offer BLOB NOT NULL,                  -- JSON of model.Offer: by which it is decided whether it is taken
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'held', 'unverified', 'skipped', 'failed')),
    reason TEXT NOT NULL DEFAULT '',      -- of what was skipped
    says TEXT NOT NULL DEFAULT '',        -- in words, of what was skipped or failed
    again TEXT NOT NULL DEFAULT '',       -- when trying again may help: a time, 'token', or nothing
    got TEXT,                             -- sha256 of the file here that holds it
    walk INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX civitai_files_version ON civitai_files (version_id);
CREATE INDEX civitai_files_model ON civitai_files (model_id);
CREATE INDEX civitai_files_sha256 ON civitai_files (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX civitai_files_got ON civitai_files (got) WHERE got IS NOT NULL;
CREATE INDEX civitai_files_state ON civitai_files (state);
CREATE TABLE previews (                   -- pictures that somebody asked for, made anew from what they were
    embedding_id INTEGER NOT NULL REFERENCES embeddings (id),
    sha256 TEXT NOT NULL,                 -- of the blob
    source TEXT NOT NULL,                 -- where the picture came from: an address, or a file's name
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    nsfw TEXT,
    recipe TEXT NOT NULL DEFAULT '{}',    -- JSON: prompt, seed, sampler ... as it was told
    added TEXT NOT NULL,
    PRIMARY KEY (embedding_id, source)
) WITHOUT ROWID;
CREATE INDEX previews_sha256 ON previews (sha256)
"""


@migrations()
def m003_civitai(db: Database) -> None:
    """What Civitai says of models, versions and files, and the pictures that were fetched."""
    run(db, CIVITAI)


VALIDATION = """
CREATE TABLE checkpoints (
    name TEXT PRIMARY KEY,
    base TEXT NOT NULL,
    body BLOB NOT NULL,                   -- JSON of verdicts.Checkpoint
    added TEXT NOT NULL
);
CREATE TABLE calibrations (
    fingerprint TEXT NOT NULL,            -- of the checkpoint
    protocol TEXT NOT NULL,               -- verdicts.measure
    body BLOB NOT NULL,                   -- JSON of verdicts.Calibration
    made TEXT NOT NULL,
    PRIMARY KEY (fingerprint, protocol)
) WITHOUT ROWID;
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,             -- verdicts.verdict_key: the same question is answered once
    embedding_id INTEGER NOT NULL REFERENCES embeddings (id),
    fingerprint TEXT NOT NULL,
    protocol TEXT NOT NULL,
    engine INTEGER NOT NULL,
    state TEXT NOT NULL,
    body BLOB NOT NULL,                   -- JSON of verdicts.Verdict
    made TEXT NOT NULL
);
CREATE INDEX verdicts_embedding ON verdicts (embedding_id);
CREATE TABLE renders (                    -- the pictures of a verdict, in its order; their bytes are blobs
    verdict_id INTEGER NOT NULL REFERENCES verdicts (id),
    place INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    cell BLOB NOT NULL,                   -- JSON of verdicts.Cell
    PRIMARY KEY (verdict_id, place)
) WITHOUT ROWID;
CREATE INDEX renders_sha256 ON renders (sha256);
-- key: who asks for the same gets the same job. batch: jobs with the same may be done together. crowd: how many were done together
-- when it last failed, 0 where it never did
ALTER TABLE jobs ADD COLUMN key TEXT;
ALTER TABLE jobs ADD COLUMN batch TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN crowd INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX jobs_key ON jobs (key) WHERE key IS NOT NULL AND state IN ('waiting', 'running');
CREATE INDEX jobs_batch ON jobs (kind, state, batch, id)
"""


@migrations()
def m004_validation(db: Database) -> None:
    """Checkpoints, calibrations, verdicts with their renders, and what jobs need to be done in batches."""
    run(db, VALIDATION)
