CREATE TABLE catalog_category (
	id     TEXT   NOT NULL PRIMARY KEY,
	parent TEXT   NOT NULL,
	zh     TEXT   NOT NULL,
	en     TEXT   NOT NULL,
	icon   TEXT   NOT NULL,
	sort   BIGINT NOT NULL
);

INSERT INTO catalog_category (id, parent, zh, en, icon, sort) VALUES
	('data',          '',         '生活数据', 'Daily life',        'cloud',  10),
	('weather',       'data',     '天气气象', 'Weather',           'cloud',  11),
	('travel',        'data',     '出行地图', 'Travel and maps',   'pin',    12),
	('calendar',      'data',     '日历节假', 'Calendar',          'clock',  13),
	('logistics',     'data',     '快递物流', 'Parcels',           'truck',  14),
	('ai',            '',         '人工智能', 'Machine learning',  'gear',   20),
	('text',          'ai',       '文本处理', 'Text',              'doc',    21),
	('vision',        'ai',       '图像识别', 'Images',            'eye',    22),
	('business',      '',         '企业工商', 'Business',          'shop',   30),
	('company',       'business', '企业信息', 'Company records',   'shop',   31),
	('invoice',       'business', '发票票据', 'Invoices',          'tkt',    32),
	('finance',       '',         '金融数据', 'Finance',           'coin',   40),
	('rates',         'finance',  '汇率行情', 'Rates and markets', 'chart',  41),
	('risk',          'finance',  '风险核验', 'Risk checks',       'shield', 42),
	('communication', '',         '通信短信', 'Messaging',         'phone',  50),
	('number',        'communication', '号码查询', 'Numbers',      'phone',  51),
	('sms',           'communication', '短信语音', 'SMS and voice','chat',   52),
	('tools',         '',         '开发工具', 'Developer tools',   'term',   60),
	('network',       'tools',    '网络工具', 'Network',           'plug',   61),
	('testing',       'tools',    '联调测试', 'Testing',           'run',    62);

CREATE TABLE catalog_product (
	seq      INTEGER PRIMARY KEY AUTOINCREMENT,
	id       TEXT   NOT NULL UNIQUE,
	seller   TEXT   NOT NULL,
	kind     TEXT   NOT NULL,
	source   TEXT   NOT NULL UNIQUE, -- a group becomes one product, once (SEL-02, SEL-07)
	draft    TEXT   NOT NULL,        -- what the seller works on; '' if it is what is listed
	stage    TEXT   NOT NULL,        -- of the draft: draft, review, rejected, or '' without one
	reason   TEXT   NOT NULL,
	live     TEXT   NOT NULL,        -- what was approved last; '' before the first time
	open     BIGINT NOT NULL,        -- 1: for sale
	category TEXT   NOT NULL,        -- of what is live, as are the two below
	floor    BIGINT NOT NULL,        -- the lowest price, in fen
	listed   BIGINT NOT NULL,
	moved    BIGINT NOT NULL,
	created  BIGINT NOT NULL
);

CREATE INDEX catalog_product_seller ON catalog_product (seller, seq);
CREATE INDEX catalog_product_open ON catalog_product (open, category, listed);
CREATE INDEX catalog_product_stage ON catalog_product (stage, moved);

-- Which product a plan belongs to; what it is stands in the product.
CREATE TABLE catalog_plan (
	id      TEXT NOT NULL PRIMARY KEY,
	product TEXT NOT NULL REFERENCES catalog_product (id)
);

CREATE TABLE catalog_placement (
	slot    TEXT   NOT NULL,
	product TEXT   NOT NULL REFERENCES catalog_product (id),
	sort    BIGINT NOT NULL,
	PRIMARY KEY (slot, product)
);

CREATE TABLE catalog_sale (
	line    TEXT   NOT NULL PRIMARY KEY,
	product TEXT   NOT NULL,
	count   BIGINT NOT NULL,
	at      BIGINT NOT NULL
);

CREATE INDEX catalog_sale_product ON catalog_sale (product, at);
