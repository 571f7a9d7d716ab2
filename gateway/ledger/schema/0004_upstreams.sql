-- Sellers' servers, certificates, and the secrets that settings name.

CREATE TABLE gw_upstream (
	id   TEXT NOT NULL PRIMARY KEY,
	body TEXT NOT NULL
);

CREATE TABLE gw_certificate (
	id   TEXT NOT NULL PRIMARY KEY,
	body TEXT NOT NULL
);

CREATE TABLE gw_secret (
	id    TEXT   NOT NULL PRIMARY KEY,
	name  TEXT   NOT NULL,
	live  BIGINT NOT NULL,
	value BLOB   NOT NULL, -- sealed
	at    BIGINT NOT NULL  -- when the value was last replaced
);
