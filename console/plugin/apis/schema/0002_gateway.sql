-- What the gateway is told of a group and an interface beside their first columns, as JSON:
-- config in config.go, routeConfig in interface.go. rev grows with each edit.
ALTER TABLE apis_group ADD COLUMN config TEXT NOT NULL DEFAULT '{}';
ALTER TABLE apis_group ADD COLUMN rev BIGINT NOT NULL DEFAULT 0;
ALTER TABLE apis_interface ADD COLUMN config TEXT NOT NULL DEFAULT '{}';

-- perapp and perroute become limits like any other; nobody reads the columns any more.
UPDATE apis_group SET config = '{"limits":[{"id":"lim_app","name":"app","by":"app","calls":' || CAST(perapp AS TEXT) || ',"window":"second"}]}'
	WHERE perapp > 0 AND perroute = 0;
UPDATE apis_group SET config = '{"limits":[{"id":"lim_route","name":"api","by":"api","calls":' || CAST(perroute AS TEXT) || ',"window":"second"}]}'
	WHERE perroute > 0 AND perapp = 0;
UPDATE apis_group SET config = '{"limits":[{"id":"lim_app","name":"app","by":"app","calls":' || CAST(perapp AS TEXT) || ',"window":"second"},{"id":"lim_route","name":"api","by":"api","calls":' || CAST(perroute AS TEXT) || ',"window":"second"}]}'
	WHERE perapp > 0 AND perroute > 0;

-- Keys of backend signatures. The values are the gateway's and stand nowhere here.
CREATE TABLE apis_key (
	id       TEXT   NOT NULL PRIMARY KEY,
	seller   TEXT   NOT NULL,
	name     TEXT   NOT NULL,
	versions TEXT   NOT NULL, -- keyVersion, the oldest first
	created  BIGINT NOT NULL
);

CREATE INDEX apis_key_seller ON apis_key (seller, id);

-- Certificates of groups' own domains. The private keys are the gateway's.
CREATE TABLE apis_certificate (
	id      TEXT   NOT NULL PRIMARY KEY,
	grp     TEXT   NOT NULL REFERENCES apis_group (id),
	domains TEXT   NOT NULL, -- JSON
	chain   TEXT   NOT NULL, -- PEM
	secret  TEXT   NOT NULL,
	begins  BIGINT NOT NULL,
	ends    BIGINT NOT NULL,
	created BIGINT NOT NULL
);

CREATE INDEX apis_certificate_group ON apis_certificate (grp, id);
