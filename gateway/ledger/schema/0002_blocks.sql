-- Charged serials are bits of their lease, and records of calls are blocks of many.

-- charged has one bit for each serial of the lease, lo being the lowest bit of the first
-- byte; it ends with the last byte that has a bit. used is how many bits are set. A lease
-- that was charged whole has used = hi - lo and no bits.
ALTER TABLE gw_lease ADD COLUMN used BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gw_lease ADD COLUMN charged BLOB NOT NULL DEFAULT '';

-- The latest calls, some thousands to a block.
CREATE TABLE gw_block (
	id    INTEGER PRIMARY KEY AUTOINCREMENT,
	calls BIGINT NOT NULL,
	first BIGINT NOT NULL, -- when the earliest call of the block began, and the latest
	last  BIGINT NOT NULL,
	names BLOB   NOT NULL, -- a filter: whom the block may have calls of
	body  BLOB   NOT NULL
);

CREATE INDEX gw_block_last ON gw_block (last);
