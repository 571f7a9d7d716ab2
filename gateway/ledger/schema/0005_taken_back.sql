-- Charges that were taken back: the answer broke off behind its head. The serial stays
-- charged and is marked here as well; its unit is credited.
ALTER TABLE gw_lease ADD COLUMN undone BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gw_lease ADD COLUMN back BLOB NOT NULL DEFAULT '';
