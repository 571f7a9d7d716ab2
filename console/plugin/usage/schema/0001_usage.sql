-- How far the gateway's stream was read. One row.
CREATE TABLE usage_cursor (
	one  BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
	next BIGINT NOT NULL
);

INSERT INTO usage_cursor (one, next) VALUES (1, 0);

CREATE TABLE usage_hour (
	hour    BIGINT NOT NULL, -- milliseconds, its beginning
	product TEXT   NOT NULL,
	grant_  TEXT   NOT NULL,
	package TEXT   NOT NULL,
	app     TEXT   NOT NULL,
	route   TEXT   NOT NULL,
	outcome TEXT   NOT NULL,
	code    TEXT   NOT NULL,
	calls   BIGINT NOT NULL,
	micros  BIGINT NOT NULL,
	PRIMARY KEY (hour, product, grant_, package, app, route, outcome, code)
);

CREATE INDEX usage_hour_grant ON usage_hour (grant_, hour);
CREATE INDEX usage_hour_package ON usage_hour (package, hour);
CREATE INDEX usage_hour_product ON usage_hour (product, hour);

CREATE TABLE usage_package (
	id          TEXT   NOT NULL PRIMARY KEY,
	service     TEXT   NOT NULL,
	grant_      TEXT   NOT NULL,
	product     TEXT   NOT NULL,
	name        TEXT   NOT NULL,
	buyer       TEXT   NOT NULL,
	buyer_name  TEXT   NOT NULL,
	seller      TEXT   NOT NULL,
	seller_name TEXT   NOT NULL,
	order_id    TEXT   NOT NULL,
	total       BIGINT NOT NULL,
	used        BIGINT NOT NULL,
	start       BIGINT NOT NULL,
	until       BIGINT NOT NULL,
	last        BIGINT NOT NULL
);

CREATE INDEX usage_package_used ON usage_package (used, id);
CREATE INDEX usage_package_grant ON usage_package (grant_);

-- What a grant's calls came to that cost no unit.
CREATE TABLE usage_grant (
	grant_  TEXT   NOT NULL PRIMARY KEY,
	free    BIGINT NOT NULL,
	refused BIGINT NOT NULL
);
