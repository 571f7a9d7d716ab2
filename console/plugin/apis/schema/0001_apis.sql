CREATE TABLE apis_group (
	id       TEXT   NOT NULL PRIMARY KEY,
	seller   TEXT   NOT NULL,
	name     TEXT   NOT NULL,
	domain   TEXT   NOT NULL UNIQUE,
	upstream TEXT   NOT NULL,
	timeout  BIGINT NOT NULL, -- milliseconds until the answer's head
	appcode  TEXT   NOT NULL,
	sha1     BIGINT NOT NULL,
	perapp   BIGINT NOT NULL, -- calls of one app in a second; 0: no bound
	perroute BIGINT NOT NULL,
	file     TEXT   NOT NULL, -- of the import; '' if drawn by hand
	version  TEXT   NOT NULL, -- of OpenAPI
	document BLOB   NOT NULL,
	product  TEXT   NOT NULL, -- that is listed with it; '' before
	charge   TEXT   NOT NULL,
	created  BIGINT NOT NULL,
	moved    BIGINT NOT NULL
);

CREATE INDEX apis_group_seller ON apis_group (seller, id);

CREATE TABLE apis_interface (
	id       TEXT   NOT NULL PRIMARY KEY,
	grp      TEXT   NOT NULL REFERENCES apis_group (id),
	sort     BIGINT NOT NULL,
	method   TEXT   NOT NULL,
	path     TEXT   NOT NULL,
	facts    TEXT   NOT NULL, -- market.Interface
	problems TEXT   NOT NULL, -- remarks of the import
	chosen   BIGINT NOT NULL,
	UNIQUE (grp, method, path)
);

-- Who has which path on the domains that all products share: the first that takes it.
CREATE TABLE apis_shared (
	method    TEXT NOT NULL,
	path      TEXT NOT NULL,
	interface TEXT NOT NULL REFERENCES apis_interface (id),
	PRIMARY KEY (method, path)
);
