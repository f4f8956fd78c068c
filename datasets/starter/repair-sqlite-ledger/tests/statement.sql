SELECT e.booked_on, e.reference, p.amount
FROM postings AS p
JOIN entries AS e ON e.id = p.entry_id
WHERE p.account_id = :account AND e.booked_on BETWEEN :first AND :last
ORDER BY e.booked_on, p.id;
