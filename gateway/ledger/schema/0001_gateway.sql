-- What must survive. Times are milliseconds since 1970, 0 for none.

CREATE TABLE gw_meta (
	name  TEXT NOT NULL PRIMARY KEY,
	value BLOB NOT NULL
);

-- The feed that other processes follow.
CREATE TABLE gw_change (
	number INTEGER PRIMARY KEY AUTOINCREMENT,
	kind   TEXT NOT NULL, -- table, app, grant
	id     TEXT NOT NULL
);

CREATE TABLE gw_group (
	id   TEXT NOT NULL PRIMARY KEY,
	body TEXT NOT NULL
);

CREATE TABLE gw_domain (
	domain TEXT NOT NULL PRIMARY KEY,
	grp    TEXT NOT NULL
);

CREATE TABLE gw_route (
	id   TEXT NOT NULL PRIMARY KEY,
	body TEXT NOT NULL
);

CREATE TABLE gw_app (
	id        TEXT   NOT NULL PRIMARY KEY,
	owner     TEXT   NOT NULL,
	name      TEXT   NOT NULL,
	live      BIGINT NOT NULL,
	app_key   TEXT   NOT NULL UNIQUE,
	secret    BLOB   NOT NULL, -- sealed
	code      BLOB   NOT NULL, -- sealed
	code_mac  BLOB   NOT NULL UNIQUE,
	secret_at BIGINT NOT NULL,
	code_at   BIGINT NOT NULL
);

CREATE TABLE gw_grant (
	id      TEXT   NOT NULL PRIMARY KEY,
	app     TEXT   NOT NULL,
	product TEXT   NOT NULL,
	live    BIGINT NOT NULL
);

CREATE INDEX gw_grant_app ON gw_grant (app, product);

-- One package: serials 0 to next-1 went out. A unit that came back is credited, and so
-- another serial may go out for it: a serial is never used twice, and none beyond
-- granted + credited exists. At every moment
--     next = charged + credited + the sum of what open leases have left.
CREATE TABLE gw_package (
	id       TEXT   NOT NULL PRIMARY KEY,
	grant_id TEXT   NOT NULL,
	granted  BIGINT NOT NULL CHECK (granted > 0),
	next     BIGINT NOT NULL DEFAULT 0,
	credited BIGINT NOT NULL DEFAULT 0,
	charged  BIGINT NOT NULL DEFAULT 0,
	start    BIGINT NOT NULL,
	until    BIGINT NOT NULL,
	live     BIGINT NOT NULL,
	last     BIGINT NOT NULL DEFAULT 0,
	CHECK (next <= granted + credited),
	CHECK (charged + credited <= next)
);

CREATE INDEX gw_package_grant ON gw_package (grant_id);

CREATE TABLE gw_lease (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	package     TEXT   NOT NULL,
	node        TEXT   NOT NULL,
	incarnation BIGINT NOT NULL,
	lo          BIGINT NOT NULL,
	hi          BIGINT NOT NULL,
	remaining   BIGINT NOT NULL CHECK (remaining >= 0) -- serials that are neither charged nor credited; 0 is closed
);

CREATE INDEX gw_lease_open ON gw_lease (node) WHERE remaining > 0;

-- Each charged call, once.
CREATE TABLE gw_usage (
	package TEXT   NOT NULL,
	serial  BIGINT NOT NULL,
	lease   BIGINT NOT NULL,
	at      BIGINT NOT NULL,
	request TEXT   NOT NULL,
	PRIMARY KEY (package, serial)
) WITHOUT ROWID;

-- What the console reads: sums that are only ever added to.
CREATE TABLE gw_delta (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	minute   BIGINT NOT NULL,
	grant_id TEXT   NOT NULL,
	package  TEXT   NOT NULL,
	app      TEXT   NOT NULL,
	product  TEXT   NOT NULL,
	route    TEXT   NOT NULL,
	outcome  TEXT   NOT NULL,
	code     TEXT   NOT NULL,
	calls    BIGINT NOT NULL,
	micros   BIGINT NOT NULL
);

-- The latest calls.
CREATE TABLE gw_call (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	request  TEXT   NOT NULL,
	at       BIGINT NOT NULL,
	app      TEXT   NOT NULL,
	product  TEXT   NOT NULL,
	route    TEXT   NOT NULL,
	grant_id TEXT   NOT NULL,
	package  TEXT   NOT NULL,
	serial   BIGINT NOT NULL,
	method   TEXT   NOT NULL,
	path     TEXT   NOT NULL,
	status   BIGINT NOT NULL,
	code     TEXT   NOT NULL,
	outcome  TEXT   NOT NULL,
	micros   BIGINT NOT NULL
);

CREATE INDEX gw_call_grant ON gw_call (grant_id, id);
CREATE INDEX gw_call_app ON gw_call (app, id);
CREATE INDEX gw_call_request ON gw_call (request);
