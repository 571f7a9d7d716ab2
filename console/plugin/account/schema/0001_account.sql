CREATE TABLE account_account (
	id      TEXT   NOT NULL PRIMARY KEY,
	name    TEXT   NOT NULL,
	roles   TEXT   NOT NULL,
	created BIGINT NOT NULL
);

CREATE TABLE account_person (
	id       TEXT   NOT NULL PRIMARY KEY,
	account  TEXT   NOT NULL REFERENCES account_account (id),
	email    TEXT   NOT NULL UNIQUE,
	name     TEXT   NOT NULL,
	password TEXT   NOT NULL,
	created  BIGINT NOT NULL
);

CREATE TABLE account_session (
	hash      TEXT   NOT NULL PRIMARY KEY,
	person    TEXT   NOT NULL REFERENCES account_person (id),
	created   BIGINT NOT NULL,
	seen      BIGINT NOT NULL,
	signed_in BIGINT NOT NULL
);

CREATE INDEX account_session_person ON account_session (person);

CREATE TABLE account_token (
	id      TEXT   NOT NULL PRIMARY KEY,
	hash    TEXT   NOT NULL UNIQUE,
	person  TEXT   NOT NULL REFERENCES account_person (id),
	name    TEXT   NOT NULL,
	tail    TEXT   NOT NULL,
	created BIGINT NOT NULL,
	used    BIGINT NOT NULL
);

CREATE INDEX account_token_person ON account_token (person, id);
