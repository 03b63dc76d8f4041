-- SPDX-License-Identifier: Apache-2.0
-- The benchmark's work for sqlite3: 100,000 rows in, an index, and as many looked up again.
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, weight INTEGER, shelf INTEGER);
CREATE TABLE shelf (id INTEGER PRIMARY KEY, title TEXT);

BEGIN;
WITH RECURSIVE counter (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM counter WHERE i < 99)
INSERT INTO shelf SELECT i, printf('shelf %03d', i) FROM counter;

WITH RECURSIVE counter (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < 100000)
INSERT INTO item
SELECT i, printf('item %x', i * 2654435761 % 4294967296), i * 7919 % 10007, i * 31 % 100 FROM counter;
COMMIT;

CREATE INDEX item_name ON item (name);

-- Each row by its key from another row, then by its name.
SELECT sum(b.weight) FROM item a JOIN item b ON b.id = 1 + a.weight;
SELECT sum(b.id % 97) FROM item a JOIN item b ON b.name = a.name;
SELECT shelf.title, count(*), sum(item.weight)
FROM item JOIN shelf ON shelf.id = item.shelf
GROUP BY shelf.id ORDER BY 3 DESC LIMIT 10;
UPDATE item SET weight = weight + 1 WHERE shelf % 2 = 0;
SELECT count(*), sum(weight), max(name) FROM item WHERE name LIKE '%ab%';
