CREATE TABLE payment_payment (
	id       TEXT   NOT NULL PRIMARY KEY,
	order_id TEXT   NOT NULL,
	buyer    TEXT   NOT NULL,
	payer    TEXT   NOT NULL,
	amount   BIGINT NOT NULL CHECK (amount >= 0),
	trade    TEXT   NOT NULL,
	state    TEXT   NOT NULL,
	created  BIGINT NOT NULL,
	settled  BIGINT NOT NULL
);

CREATE INDEX payment_payment_order ON payment_payment (order_id, id);
CREATE UNIQUE INDEX payment_payment_once ON payment_payment (order_id) WHERE state = 'settled';

-- Money that came and fits no payment: it is never dropped, somebody looks at it.
CREATE TABLE payment_suspense (
	payer   TEXT   NOT NULL,
	trade   TEXT   NOT NULL,
	payment TEXT   NOT NULL,
	amount  BIGINT NOT NULL,
	reason  TEXT   NOT NULL,
	at      BIGINT NOT NULL,
	PRIMARY KEY (payer, trade)
);
