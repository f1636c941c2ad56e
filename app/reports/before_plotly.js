// Plotly clears the looks of a colour bar through an attribute, which the page's policy refuses; as an object it may.
{
  const set = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style" && this.style) this.style.cssText = value;
    else set.call(this, name, value);
  };
}
