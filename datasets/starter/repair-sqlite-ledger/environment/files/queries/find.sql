SELECT e.id, e.booked_on, a.code, p.amount
FROM entries AS e
JOIN postings AS p ON p.entry_id = e.id
JOIN accounts AS a ON a.id = p.account_id
WHERE e.source = :source AND lower(trim(e.reference)) = lower(trim(:reference))
ORDER BY e.id, p.id;
