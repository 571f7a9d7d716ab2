CREATE TABLE service_service (
	id      TEXT   NOT NULL PRIMARY KEY,
	buyer   TEXT   NOT NULL,
	product TEXT   NOT NULL,
	seller  TEXT   NOT NULL,
	kind    TEXT   NOT NULL,
	source  TEXT   NOT NULL,
	charge  TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	state   TEXT   NOT NULL,
	remark  TEXT   NOT NULL DEFAULT '',
	created BIGINT NOT NULL
);

CREATE INDEX service_service_buyer ON service_service (buyer, id);

CREATE TABLE service_part (
	id      TEXT   NOT NULL PRIMARY KEY,
	service TEXT   NOT NULL REFERENCES service_service (id),
	ord     TEXT   NOT NULL,
	line    TEXT   NOT NULL,
	title   TEXT   NOT NULL,
	calls   BIGINT NOT NULL,
	start   BIGINT NOT NULL,
	until   BIGINT NOT NULL,
	state   TEXT   NOT NULL
);

CREATE INDEX service_part_service ON service_part (service, id);
