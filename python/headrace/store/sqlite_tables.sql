CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE artifacts (
    digest TEXT NOT NULL,
    type_name TEXT NOT NULL,
    size BIGINT NOT NULL,
    created FLOAT NOT NULL,
    touched FLOAT NOT NULL,
    collected FLOAT,
    CONSTRAINT pk_artifacts PRIMARY KEY (digest)
);
CREATE TABLE cache (
    "key" TEXT NOT NULL,
    created FLOAT NOT NULL,
    CONSTRAINT pk_cache PRIMARY KEY ("key")
);
CREATE TABLE label_files (
    sha256 TEXT NOT NULL,
    number BIGINT NOT NULL,
    at FLOAT NOT NULL,
    labels BIGINT NOT NULL,
    CONSTRAINT pk_label_files PRIMARY KEY (sha256)
);
CREATE TABLE labels (
    request_id TEXT NOT NULL,
    "row" INTEGER NOT NULL,
    known FLOAT NOT NULL,
    position BIGINT NOT NULL,
    label TEXT NOT NULL,
    source TEXT NOT NULL,
    CONSTRAINT pk_labels PRIMARY KEY (request_id, "row", known, position, label)
);
CREATE TABLE live_windows (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    start BIGINT NOT NULL,
    seconds BIGINT NOT NULL,
    server TEXT NOT NULL,
    rows BIGINT NOT NULL,
    inputs BLOB NOT NULL,
    scores BLOB NOT NULL,
    written FLOAT NOT NULL,
    CONSTRAINT pk_live_windows PRIMARY KEY (model, version, start, seconds, server)
);
CREATE TABLE loops (
    project TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    head TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    host TEXT NOT NULL,
    lease_until FLOAT NOT NULL,
    CONSTRAINT pk_loops PRIMARY KEY (project)
);
CREATE TABLE models (
    name TEXT NOT NULL,
    last_number INTEGER NOT NULL,
    CONSTRAINT pk_models PRIMARY KEY (name)
);
CREATE TABLE package_files (
    package TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    CONSTRAINT pk_package_files PRIMARY KEY (package, name)
);
CREATE INDEX ix_package_files_sha256 ON package_files (sha256);
CREATE TRIGGER package_files_no_update BEFORE UPDATE ON package_files BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END;
CREATE TRIGGER package_files_no_delete BEFORE DELETE ON package_files BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END;
CREATE TABLE runs (
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    project TEXT NOT NULL,
    status TEXT NOT NULL,
    "trigger" TEXT NOT NULL,
    started FLOAT NOT NULL,
    ended FLOAT,
    epoch INTEGER NOT NULL,
    host TEXT NOT NULL,
    lease_until FLOAT NOT NULL,
    spec TEXT NOT NULL,
    provenance TEXT NOT NULL,
    CONSTRAINT pk_runs PRIMARY KEY (id)
);
CREATE INDEX ix_runs_ordinal ON runs (ordinal);
CREATE INDEX ix_runs_status ON runs (status);
CREATE TABLE stamps (
    sha256 TEXT NOT NULL,
    stamp TEXT NOT NULL,
    CONSTRAINT pk_stamps PRIMARY KEY (sha256)
);
CREATE TABLE store_identity (
    id TEXT NOT NULL,
    created FLOAT NOT NULL,
    origin TEXT NOT NULL,
    CONSTRAINT pk_store_identity PRIMARY KEY (id)
);
CREATE TABLE cache_outputs (
    "key" TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    CONSTRAINT pk_cache_outputs PRIMARY KEY ("key", name),
    CONSTRAINT fk_cache_outputs_key_cache FOREIGN KEY("key") REFERENCES cache ("key"),
    CONSTRAINT fk_cache_outputs_digest_artifacts FOREIGN KEY(digest) REFERENCES artifacts (digest)
);
CREATE INDEX ix_cache_outputs_digest ON cache_outputs (digest);
CREATE TABLE loop_log (
    project TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at FLOAT NOT NULL,
    who TEXT NOT NULL,
    body TEXT NOT NULL,
    hash TEXT NOT NULL,
    CONSTRAINT pk_loop_log PRIMARY KEY (project, seq),
    CONSTRAINT fk_loop_log_project_loops FOREIGN KEY(project) REFERENCES loops (project)
);
CREATE TRIGGER loop_log_no_update BEFORE UPDATE ON loop_log BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END;
CREATE TRIGGER loop_log_no_delete BEFORE DELETE ON loop_log BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END;
CREATE TABLE parts (
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    content TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    inline BLOB,
    CONSTRAINT pk_parts PRIMARY KEY (digest, name),
    CONSTRAINT fk_parts_digest_artifacts FOREIGN KEY(digest) REFERENCES artifacts (digest)
);
CREATE INDEX ix_parts_sha256 ON parts (sha256);
CREATE TABLE stages (
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    use TEXT NOT NULL,
    distribution TEXT NOT NULL,
    version TEXT NOT NULL,
    config TEXT NOT NULL,
    outcome TEXT NOT NULL,
    why TEXT NOT NULL,
    "key" TEXT,
    started FLOAT NOT NULL,
    ended FLOAT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT,
    fingerprint TEXT NOT NULL,
    CONSTRAINT pk_stages PRIMARY KEY (run_id, name),
    CONSTRAINT fk_stages_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE TABLE versions (
    model TEXT NOT NULL,
    number INTEGER NOT NULL,
    package TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    manifest TEXT NOT NULL,
    run_id TEXT,
    who TEXT NOT NULL,
    created FLOAT NOT NULL,
    CONSTRAINT pk_versions PRIMARY KEY (model, number),
    CONSTRAINT uq_versions_model_package UNIQUE (model, package),
    CONSTRAINT fk_versions_model_models FOREIGN KEY(model) REFERENCES models (name)
);
CREATE TRIGGER versions_no_update BEFORE UPDATE ON versions BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END;
CREATE TRIGGER versions_no_delete BEFORE DELETE ON versions BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END;
CREATE TABLE alias_history (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    rev INTEGER NOT NULL,
    number INTEGER NOT NULL,
    previous INTEGER,
    action TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    gate TEXT,
    run_id TEXT,
    at FLOAT NOT NULL,
    CONSTRAINT pk_alias_history PRIMARY KEY (model, alias, rev),
    CONSTRAINT fk_alias_history_model_number_versions FOREIGN KEY(model, number) REFERENCES versions (model, number)
);
CREATE TRIGGER alias_history_no_update BEFORE UPDATE ON alias_history BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END;
CREATE TRIGGER alias_history_no_delete BEFORE DELETE ON alias_history BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END;
CREATE TABLE aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    number INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    CONSTRAINT pk_aliases PRIMARY KEY (model, alias),
    CONSTRAINT fk_aliases_model_number_versions FOREIGN KEY(model, number) REFERENCES versions (model, number)
);
CREATE TABLE metrics (
    run_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    value FLOAT,
    CONSTRAINT pk_metrics PRIMARY KEY (run_id, stage, name),
    CONSTRAINT fk_metrics_run_id_stage_stages FOREIGN KEY(run_id, stage) REFERENCES stages (run_id, name)
);
CREATE TABLE stage_artifacts (
    run_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    direction TEXT NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    digest TEXT NOT NULL,
    CONSTRAINT pk_stage_artifacts PRIMARY KEY (run_id, stage, direction, name),
    CONSTRAINT fk_stage_artifacts_run_id_stage_stages FOREIGN KEY(run_id, stage) REFERENCES stages (run_id, name),
    CONSTRAINT fk_stage_artifacts_digest_artifacts FOREIGN KEY(digest) REFERENCES artifacts (digest)
);
CREATE INDEX ix_stage_artifacts_digest ON stage_artifacts (digest);
