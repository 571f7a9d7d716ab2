-- Words are cut in Go (search.go), since no tokenizer of FTS5 finds words of two Han
-- characters. The rowid is catalog_product.seq.
CREATE VIRTUAL TABLE catalog_search USING fts5 (
	words, content = '', contentless_delete = 1, tokenize = 'unicode61', prefix = '2 3'
);
