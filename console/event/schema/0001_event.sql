CREATE TABLE event_told (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	name    TEXT   NOT NULL,
	subject TEXT   NOT NULL,
	body    TEXT   NOT NULL,
	at      BIGINT NOT NULL
);

CREATE TABLE event_delivery (
	event    BIGINT NOT NULL REFERENCES event_told (id),
	listener TEXT   NOT NULL,
	subject  TEXT   NOT NULL,
	state    TEXT   NOT NULL CHECK (state IN ('due', 'done', 'parked')),
	tries    BIGINT NOT NULL,
	due      BIGINT NOT NULL,
	error    TEXT   NOT NULL,
	PRIMARY KEY (event, listener)
);

CREATE INDEX event_delivery_open ON event_delivery (listener, subject, event) WHERE state <> 'done';
