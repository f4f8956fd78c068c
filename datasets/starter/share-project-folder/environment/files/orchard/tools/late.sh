
#!/bin/sh
echo "the first line is empty"
