CREATE TABLE order_head (
	id      TEXT   NOT NULL PRIMARY KEY,
	buyer   TEXT   NOT NULL,
	person  TEXT   NOT NULL,
	seller  TEXT   NOT NULL,
	type    TEXT   NOT NULL,
	state   TEXT   NOT NULL,
	total   BIGINT NOT NULL CHECK (total >= 0),
	once    TEXT   NOT NULL,
	created BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	paid    BIGINT NOT NULL,
	UNIQUE (buyer, once)
);

CREATE INDEX order_head_buyer ON order_head (buyer, id);
CREATE INDEX order_head_seller ON order_head (seller, id);
CREATE INDEX order_head_unpaid ON order_head (expires) WHERE state = 'unpaid';

CREATE TABLE order_line (
	id       TEXT   NOT NULL PRIMARY KEY,
	order_id TEXT   NOT NULL REFERENCES order_head (id),
	plan     TEXT   NOT NULL,
	product  TEXT   NOT NULL,
	name     TEXT   NOT NULL,
	offer    TEXT   NOT NULL,
	count    BIGINT NOT NULL CHECK (count > 0),
	price    BIGINT NOT NULL CHECK (price >= 0)
);

CREATE INDEX order_line_order ON order_line (order_id, id);
