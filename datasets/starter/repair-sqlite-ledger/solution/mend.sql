CREATE TEMP TABLE ranked AS
SELECT id, source, lower(trim(reference)) AS ref,
       row_number() OVER (PARTITION BY source, lower(trim(reference)) ORDER BY imported_at DESC, id) AS place,
       first_value(id) OVER (PARTITION BY source, lower(trim(reference)) ORDER BY imported_at DESC, id) AS survivor,
       CASE
           WHEN batch LIKE 'BR-%' AND batch <> 'BR-07' THEN 100
           WHEN batch = 'HQ-12' AND booked_on < '2025-03-10' THEN 100
           ELSE 1
       END AS factor,
       EXISTS (SELECT 1 FROM postings AS p WHERE p.entry_id = entries.id) AS has_postings
FROM entries;
CREATE TEMP TABLE givers AS
SELECT survivor, id AS giver
FROM (SELECT *, row_number() OVER (PARTITION BY survivor ORDER BY place) AS turn FROM ranked WHERE has_postings)
WHERE turn = 1;

CREATE TABLE quarantine (posting_id INTEGER PRIMARY KEY, entry_id, account_id, amount);
INSERT INTO quarantine
SELECT id, entry_id, account_id, amount FROM postings WHERE entry_id NOT IN (SELECT id FROM entries) OR entry_id IS NULL;

CREATE TABLE new_postings (
    id INTEGER PRIMARY KEY,
    entry_id INTEGER NOT NULL REFERENCES entries (id),
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer')
);
INSERT INTO new_postings
SELECT p.id, g.survivor,
       CASE WHEN p.account_id IN (SELECT id FROM accounts) THEN p.account_id ELSE (SELECT id FROM accounts WHERE code = '9999') END,
       CAST(round(p.amount * r.factor) AS INTEGER)
FROM postings AS p
JOIN ranked AS r ON r.id = p.entry_id
JOIN givers AS g ON g.giver = p.entry_id;
DROP TABLE postings;
ALTER TABLE new_postings RENAME TO postings;

CREATE TABLE new_attachments (id INTEGER PRIMARY KEY, entry_id INTEGER NOT NULL REFERENCES entries (id), file TEXT);
INSERT INTO new_attachments
SELECT min(a.id), r.survivor, a.file FROM attachments AS a JOIN ranked AS r ON r.id = a.entry_id GROUP BY r.survivor, a.file;
DROP TABLE attachments;
ALTER TABLE new_attachments RENAME TO attachments;

DELETE FROM entries WHERE id IN (SELECT id FROM ranked WHERE place > 1);

DROP TABLE balances;
CREATE TABLE balances (
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    month TEXT NOT NULL,
    total,
    PRIMARY KEY (account_id, month)
);
INSERT INTO balances
SELECT p.account_id, substr(e.booked_on, 1, 7), sum(p.amount)
FROM postings AS p JOIN entries AS e ON e.id = p.entry_id
GROUP BY 1, 2;

CREATE UNIQUE INDEX entries_key ON entries (source, lower(trim(reference)));
CREATE INDEX postings_by_entry ON postings (entry_id);
CREATE INDEX postings_by_account ON postings (account_id);
CREATE INDEX attachments_by_entry ON attachments (entry_id);
DROP TABLE temp.ranked;
DROP TABLE temp.givers;
