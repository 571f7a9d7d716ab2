CREATE TABLE apps_app (
	id      TEXT   NOT NULL PRIMARY KEY,
	owner   TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	about   TEXT   NOT NULL,
	first   BIGINT NOT NULL, -- 1: made by the owner's first purchase; calls of purchases are granted to it
	created BIGINT NOT NULL
);

CREATE INDEX apps_app_owner ON apps_app (owner, id);
CREATE UNIQUE INDEX apps_app_first ON apps_app (owner) WHERE first = 1;

-- What was done with credentials, by whom. Rows are only ever added.
CREATE TABLE apps_deed (
	app    TEXT   NOT NULL REFERENCES apps_app (id),
	person TEXT   NOT NULL,
	deed   TEXT   NOT NULL,
	at     BIGINT NOT NULL
);

CREATE INDEX apps_deed_app ON apps_deed (app, at);
