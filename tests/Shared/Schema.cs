// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;

namespace Ksplice.Tests;

/// <summary>
/// The JSON schemas in docs/, as far as they go: names, in that order the required ones all there; patterns and lists of texts.
/// </summary>
internal static class Schema
{
    /// <summary>Fails unless <paramref name="json"/> has what the schema of that name requires and nothing else.</summary>
    public static void Check(string name, string json)
    {
        var schema = JsonNode.Parse(File.ReadAllText(Repository.At("docs", name)))!;
        Check(schema, schema, JsonNode.Parse(json));
    }

    private static void Check(JsonNode root, JsonNode schema, JsonNode? value)
    {
        if (schema["$ref"] is { } reference)
            schema = reference.GetValue<string>()["#/".Length..].Split('/').Aggregate(root, (node, name) => node[name]!);
        if (value is null)
        {
            Assert.Contains(schema["type"]!.AsArray(), type => type!.GetValue<string>() == "null");
            return;
        }
        if (schema["enum"] is JsonArray allowed)
            Assert.Contains(value.GetValue<string>(), allowed.Select(text => text!.GetValue<string>()));
        switch (value)
        {
            case JsonObject found:
                var properties = schema["properties"]!.AsObject();
                Assert.Equal(properties.Select(property => property.Key).Where(found.ContainsKey), found.Select(property => property.Key));
                Assert.Subset(
                    found.Select(property => property.Key).ToHashSet(),
                    schema["required"]!.AsArray().Select(name => name!.GetValue<string>()).ToHashSet()
                );
                foreach (var (name, inner) in found)
                    Check(root, properties[name]!, inner);
                break;
            case JsonArray found:
                foreach (var item in found)
                    Check(root, schema["items"]!, item);
                break;
            default:
                if (schema["pattern"] is { } pattern)
                    Assert.Matches(pattern.GetValue<string>(), value.GetValue<string>());
                break;
        }
    }
}
