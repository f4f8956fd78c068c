# A comment
# ! not a program
