-- What stood in rows was moved into bits and blocks (move.go).
DROP TABLE gw_usage;
DROP TABLE gw_call;
