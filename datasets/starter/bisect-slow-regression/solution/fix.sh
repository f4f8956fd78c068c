# commit MESSAGE: what is changed in the program, as somebody who is set up nowhere.
cd /app/tally
commit() {
    git -c user.name="Repair" -c user.email=repair@example.org commit -q -a -m "$1"
}

# The commit in which a line like this came up first.
first_with() {
    git log --reverse --format=%H -S"$1" -- tally | head -n 1
}

know_by_dict() {
    sed -i -e 's/self.known = \[\]/self.known = {}/' -e 's/self.known.append(number)/self.known[number] = True/' tally/once.py
}
